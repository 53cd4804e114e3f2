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
	*site
}

func newPair(t *testing.T) *pair {
	t.Helper()
	c := newCluster(t, 2, 64<<20)
	return &pair{c[0].store, c[1].store, c[1].fetcher, c[0]}
}

// site is one node: a store, its fetcher, and its server behind a listener.
type site struct {
	id      spec.NodeID
	store   *objectstore.Store
	fetcher *Fetcher
	sent    atomic.Int64 // bytes that its server has written

	mu    sync.Mutex
	conns []net.Conn
	// gate, if set, is called before each write of the server with what that
	// connection has brought so far.
	gate func(sent int64)
}

// newCluster makes nodes 1 to n, each with a store of so many bytes.
func newCluster(t *testing.T, n int, capacity uint64) []*site {
	t.Helper()
	addresses := map[spec.NodeID]string{}
	dial := func(ctx context.Context, to spec.NodeID) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addresses[to])
	}
	var out []*site
	for i := range n {
		s := &site{id: spec.NodeID{byte(i + 1)}}
		store, err := objectstore.New(objectstore.Config{Capacity: capacity})
		if err != nil {
			t.Fatal(err)
		}
		s.store = store
		s.fetcher = NewFetcher(s.id, dial, store)
		t.Cleanup(func() { _ = store.Close() })
		addresses[s.id] = s.listen(t)
		out = append(out, s)
	}
	return out
}

func (p *site) listen(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(p.store, p.fetcher)
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
			wg.Go(func() { _ = server.Serve(&counted{Conn: conn, site: p}) })
		}
	})
	t.Cleanup(func() {
		p.fetcher.Close()
		_ = l.Close()
		p.cut()
		wg.Wait()
	})
	return l.Addr().String()
}

// counted counts what a server writes.
type counted struct {
	net.Conn
	site *site
	sent int64
}

func (c *counted) Write(b []byte) (int, error) {
	if c.site.gate != nil {
		c.site.gate(c.sent)
	}
	n, err := c.Conn.Write(b)
	c.sent += int64(n)
	c.site.sent.Add(int64(n))
	return n, err
}

func (p *site) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

func (p *site) put(t *testing.T, id spec.ObjectID, data []byte) {
	t.Helper()
	p.store.Create(1, id, uint64(len(data)), func(a objectstore.Alloc, err error) {
		if err != nil {
			t.Error(err)
			return
		}
		copy(p.store.Bytes(a.Offset, uint64(len(data))), data)
	})
	if _, err := p.store.Seal(1, id, true); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) check(t *testing.T, id spec.ObjectID, want []byte) {
	t.Helper()
	check(t, p.dst, id, want)
}

func (p *pair) fetch(ctx context.Context, id spec.ObjectID) (uint64, error) {
	size, _, err := p.fetcher.Fetch(ctx, id, []spec.NodeID{p.id})
	return size, err
}

func check(t *testing.T, store *objectstore.Store, id spec.ObjectID, want []byte) {
	t.Helper()
	got, release, err := store.View(id)
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
		n, err := p.fetch(t.Context(), id)
		if err != nil || n != uint64(size) {
			t.Fatalf("size %d: got %d, %v", size, n, err)
		}
		p.check(t, id, data)
	}
}

func TestFetchOfAnUnknownObject(t *testing.T) {
	p := newPair(t)
	if _, err := p.fetch(t.Context(), spec.ObjectID{5}); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	// The connection is in step and serves on.
	p.put(t, spec.ObjectID{6}, []byte("x"))
	if _, err := p.fetch(t.Context(), spec.ObjectID{6}); err != nil {
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
		return &cutAfter{Conn: conn, left: 1 << 20}, err
	}
	if _, err := p.fetch(t.Context(), spec.ObjectID{7}); err == nil {
		t.Fatal("a cut connection gave a whole object")
	}
	if st := p.dst.Stats(); st.Used != 0 || st.Objects != 0 {
		t.Errorf("left behind: %+v", st)
	}
	p.fetcher.dial = dialled
	if _, err := p.fetch(t.Context(), spec.ObjectID{7}); err != nil {
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
	if _, err := p.fetch(ctx, spec.ObjectID{9}); !errors.Is(err, context.DeadlineExceeded) {
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
			if n, err := p.fetch(t.Context(), spec.ObjectID{8}); err != nil || n != uint64(len(data)) {
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
