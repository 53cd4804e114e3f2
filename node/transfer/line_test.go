package transfer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

func random(size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(data) // never fails
	return data
}

func TestPlacesInALine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]uint64{lineFrom, chainFrom - 1, chainFrom, 1 << 40}).Draw(t, "size")
		n := rapid.IntRange(1, 3000).Draw(t, "nodes")
		children, depth := make([]int, n+1), make([]int, n+1)
		for p := 1; p <= n; p++ {
			at := parent(p, size)
			if at < 0 || at >= p {
				t.Fatalf("%d asks %d", p, at)
			}
			children[at]++
			depth[p] = depth[at] + 1
			if children[at] > 2 {
				t.Fatalf("%d sends it %d times", at, children[at])
			}
		}
		if size < chainFrom && depth[n] > 12 {
			t.Fatalf("node %d is %d steps from the source", n, depth[n])
		}
	})
}

func TestLines(t *testing.T) {
	ls := lines{of: map[spec.ObjectID]*line{}}
	a, b, c := spec.NodeID{1}, spec.NodeID{2}, spec.NodeID{3}
	id, now := spec.ObjectID{1}, time.Now()
	join := func(n spec.NodeID, want spec.NodeID, what string) {
		t.Helper()
		if at := ls.join(id, n, chainFrom, now); at != want {
			t.Errorf("%s: %v", what, at)
		}
	}
	join(a, spec.NodeID{}, "the first asks the source")
	join(b, a, "the second asks the first")
	join(b, spec.NodeID{}, "one that comes again asks the source")
	ls.forget(b)
	join(c, a, "nobody is sent to a dead node")
	now = now.Add(lineKept)
	ls.sent(id, now)
	now = now.Add(lineKept)
	join(spec.NodeID{4}, c, "a line that is used is kept")
	now = now.Add(2 * lineKept)
	join(a, spec.NodeID{}, "others are forgotten")
	if at := ls.join(id, b, lineFrom-1, now); !at.IsZero() {
		t.Errorf("a small object comes from %v", at)
	}
	ls.join(spec.ObjectID{2}, a, chainFrom, now)
	now = now.Add(2 * lineKept)
	ls.join(spec.ObjectID{3}, a, chainFrom, now)
	if len(ls.of) != 1 {
		t.Errorf("%d lines", len(ls.of))
	}
}

func TestEveryNodeOfABroadcastSendsALittle(t *testing.T) {
	const nodes, size = 9, 24 << 20
	c := newCluster(t, nodes, 32<<20)
	id, data := spec.ObjectID{1}, random(size)
	c[0].put(t, id, data)
	var wg sync.WaitGroup
	for _, s := range c[1:] {
		wg.Go(func() {
			if n, _, err := s.fetcher.Fetch(t.Context(), id, []spec.NodeID{c[0].id}); err != nil || n != size {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	wg.Wait()
	for i, s := range c {
		check(t, s.store, id, data)
		if n := s.sent.Load(); n > 2*size+size/2 {
			t.Errorf("node %d has sent %d MB", i, n>>20)
		}
	}
}

// TestAPartIsServedBeforeTheWhole stops a source in the middle of an object:
// what has come to one node by then goes on to the next.
func TestAPartIsServedBeforeTheWhole(t *testing.T) {
	const size = 24 << 20
	c := newCluster(t, 4, 32<<20)
	id, data := spec.ObjectID{1}, random(size)
	c[0].put(t, id, data)
	open := make(chan struct{})
	// It sends to two, the third asks one of them. Two ranges of each stream go
	// through: whatever stream is fast, that is less than the whole for a node.
	c[0].gate = func(sent int64) {
		if sent > 2*rangeBytes {
			<-open
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range c[1:] {
		wg.Go(func() {
			if _, _, err := s.fetcher.Fetch(t.Context(), id, []spec.NodeID{c[0].id}); err != nil {
				t.Error(err)
			}
		})
	}
	sentOn := func() (n int64) {
		for _, s := range c[1:] {
			n += s.sent.Load()
		}
		return n
	}
	for end := time.Now().Add(10 * time.Second); sentOn() < size/8; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Error("nothing went on")
			break
		}
	}
	for _, s := range c[1:] {
		if s.store.Has(id) {
			t.Error("the whole has come through a closed gate")
		}
	}
	close(open)
	wg.Wait()
	for _, s := range c[1:] {
		check(t, s.store, id, data)
	}
	if n := c[0].sent.Load(); n > 2*size+size/10 {
		t.Errorf("the source has sent %d MB", n>>20)
	}
}

func TestWhoGetsNoMoreIsPassedOver(t *testing.T) {
	const size = 24 << 20
	c := newCluster(t, 4, 32<<20)
	id, data := spec.ObjectID{1}, random(size)
	c[0].put(t, id, data)
	c[1].fetcher.stall = 100 * time.Millisecond
	// Node 2 asks first and then gets nothing.
	dial, hang := c[1].fetcher.dial, make(chan struct{})
	c[1].fetcher.dial = func(ctx context.Context, to spec.NodeID) (net.Conn, error) {
		conn, err := dial(ctx, to)
		return &hung{conn, 400, hang}, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, _, _ = c[1].fetcher.Fetch(ctx, id, []spec.NodeID{c[0].id}) })
	defer wg.Wait()
	defer close(hang)
	defer cancel()
	for c[0].sent.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	for _, s := range c[2:] { // the second of them is sent to node 2
		if _, _, err := s.fetcher.Fetch(t.Context(), id, []spec.NodeID{c[0].id}); err != nil {
			t.Fatal(err)
		}
		check(t, s.store, id, data)
	}
}

// hung reads so many bytes and then waits.
type hung struct {
	net.Conn
	left int
	hang chan struct{}
}

func (c *hung) Read(b []byte) (int, error) {
	if c.left <= 0 {
		<-c.hang
		return 0, errors.New("hung")
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

func TestAnotherSourceGivesTheRest(t *testing.T) {
	const size = 40 << 20
	c := newCluster(t, 3, 64<<20)
	id, data := spec.ObjectID{1}, random(size)
	c[0].put(t, id, data)
	c[1].put(t, id, data)
	var mended atomic.Bool
	c[0].gate = func(int64) {
		if c[0].sent.Load() > size/2 && !mended.Load() {
			c[0].cut()
		}
	}
	n, _, err := c[2].fetcher.Fetch(t.Context(), id, []spec.NodeID{c[0].id, c[1].id})
	if err != nil || n != size {
		t.Fatal(n, err)
	}
	check(t, c[2].store, id, data)
	if sent := c[1].sent.Load(); sent == 0 || sent > size-rangeBytes {
		t.Errorf("the second source has sent %d of %d bytes", sent, size)
	}
	// Nodes without it are named.
	mended.Store(true)
	_, without, err := c[2].fetcher.Fetch(t.Context(), spec.ObjectID{2}, []spec.NodeID{c[0].id, c[1].id})
	if !errors.Is(err, ErrUnknown) || len(without) != 2 {
		t.Error(without, err)
	}
}
