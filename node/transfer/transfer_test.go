package transfer

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ray/internal/objectstore"
	"ray/internal/spec"
)

// pair is two stores and a server of the first, reached over loopback TCP.
type pair struct {
	src, dst *objectstore.Store
	fetcher  *Fetcher
	mu       sync.Mutex
	conns    []net.Conn
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{}
	for _, s := range []**objectstore.Store{&p.src, &p.dst} {
		store, err := objectstore.New(objectstore.Config{Capacity: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		*s = store
		t.Cleanup(func() { _ = store.Close() })
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn)
			p.mu.Unlock()
			wg.Go(func() { _ = Serve(conn, p.src) })
		}
	})
	p.fetcher = NewFetcher(func(ctx context.Context, _ spec.NodeID) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}, p.dst)
	t.Cleanup(func() {
		p.fetcher.Close()
		_ = l.Close()
		p.cut()
		wg.Wait()
	})
	return p
}

func (p *pair) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

func (p *pair) put(t *testing.T, id spec.ObjectID, data []byte) {
	t.Helper()
	p.src.Create(1, id, uint64(len(data)), func(a objectstore.Alloc, err error) {
		if err != nil {
			t.Error(err)
			return
		}
		copy(p.src.Bytes(a.Offset, uint64(len(data))), data)
	})
	if _, err := p.src.Seal(1, id, true); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) check(t *testing.T, id spec.ObjectID, want []byte) {
	t.Helper()
	got, release, err := p.dst.View(id)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if !bytes.Equal(got, want) {
		t.Error("the copy differs")
	}
}

func TestFetchCopiesObjectsOfAnySize(t *testing.T) {
	p := newPair(t)
	for i, size := range []int{0, 1, 100, rangeBytes - 1, rangeBytes, 3*rangeBytes + 17} {
		id := spec.ObjectID{0: byte(i), 27: 1}
		data := make([]byte, size)
		for k := range data {
			data[k] = byte(k * (i + 3) >> 3)
		}
		p.put(t, id, data)
		n, err := p.fetcher.Fetch(t.Context(), spec.NodeID{1}, id)
		if err != nil || n != uint64(size) {
			t.Fatalf("size %d: got %d, %v", size, n, err)
		}
		p.check(t, id, data)
	}
}

func TestFetchOfAnUnknownObject(t *testing.T) {
	p := newPair(t)
	if _, err := p.fetcher.Fetch(t.Context(), spec.NodeID{1}, spec.ObjectID{5}); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	// The connection is in step and serves on.
	p.put(t, spec.ObjectID{6}, []byte("x"))
	if _, err := p.fetcher.Fetch(t.Context(), spec.NodeID{1}, spec.ObjectID{6}); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenSourceLeavesNothing(t *testing.T) {
	p := newPair(t)
	data := make([]byte, 40<<20)
	p.put(t, spec.ObjectID{7}, data)
	dialled := p.fetcher.dial
	p.fetcher.dial = func(ctx context.Context, n spec.NodeID) (net.Conn, error) {
		conn, err := dialled(ctx, n)
		return &cutAfter{Conn: conn, left: 10 << 20}, err
	}
	if _, err := p.fetcher.Fetch(t.Context(), spec.NodeID{1}, spec.ObjectID{7}); err == nil {
		t.Fatal("a cut connection gave a whole object")
	}
	if st := p.dst.Stats(); st.Used != 0 || st.Objects != 0 {
		t.Errorf("left behind: %+v", st)
	}
	p.fetcher.dial = dialled
	if _, err := p.fetcher.Fetch(t.Context(), spec.NodeID{1}, spec.ObjectID{7}); err != nil {
		t.Fatal(err)
	}
	p.check(t, spec.ObjectID{7}, data)
}

// cutAfter closes the connection after left bytes were read.
type cutAfter struct {
	net.Conn
	left int
}

func (c *cutAfter) Read(b []byte) (int, error) {
	if c.left <= 0 {
		_ = c.Close()
		return 0, errors.New("cut")
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

func TestCancelEndsAFetch(t *testing.T) {
	p := newPair(t)
	client, server := net.Pipe()
	defer server.Close()
	p.fetcher.dial = func(context.Context, spec.NodeID) (net.Conn, error) { return client, nil }
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.fetcher.Fetch(ctx, spec.NodeID{1}, spec.ObjectID{9}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestFetchesOfOneObjectAreMerged(t *testing.T) {
	p := newPair(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	p.put(t, spec.ObjectID{8}, data)
	var dials atomic.Int32
	dial := p.fetcher.dial
	p.fetcher.dial = func(ctx context.Context, n spec.NodeID) (net.Conn, error) { dials.Add(1); return dial(ctx, n) }
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if n, err := p.fetcher.Fetch(t.Context(), spec.NodeID{1}, spec.ObjectID{8}); err != nil || n != uint64(len(data)) {
				t.Errorf("%d %v", n, err)
			}
			p.check(t, spec.ObjectID{8}, data)
		})
	}
	wg.Wait()
	if n := dials.Load(); n > maxStreams {
		t.Errorf("%d connections for one object", n)
	}
}
