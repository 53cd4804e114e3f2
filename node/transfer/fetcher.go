package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"ray/internal/objectstore"
	"ray/internal/spec"
)

// ErrUnknown says that the source does not have the object (any more).
var ErrUnknown = errors.New("the source does not have the object")

// Sizes of ranges and how many streams share a large object.
const (
	rangeBytes = 8 << 20
	maxStreams = 4
	// idleConns are kept for each peer.
	idleConns = 4
)

// Sink is where a fetched object goes: the object store.
type Sink interface {
	Create(client uint32, id spec.ObjectID, size uint64, done func(objectstore.Alloc, error))
	Bytes(offset, size uint64) []byte
	Seal(client uint32, id spec.ObjectID, primary bool) ([]byte, error)
	Abort(client uint32, id spec.ObjectID)
}

// Dial opens a bulk connection to a node.
type Dial func(ctx context.Context, node spec.NodeID) (net.Conn, error)

// Fetcher brings objects from other nodes. Safe for concurrent use.
type Fetcher struct {
	dial Dial
	sink Sink

	mu     sync.Mutex
	idle   map[spec.NodeID][]net.Conn
	busy   map[spec.NodeID]map[net.Conn]bool
	flying map[spec.ObjectID]*flight
	rates  map[spec.NodeID]float64
	closed bool
}

// flight is a fetch that others of the same object wait for.
type flight struct {
	done chan struct{}
	size uint64
	err  error
}

// NewFetcher makes a Fetcher; Close it at the end.
func NewFetcher(dial Dial, sink Sink) *Fetcher {
	return &Fetcher{dial: dial, sink: sink, idle: map[spec.NodeID][]net.Conn{}, busy: map[spec.NodeID]map[net.Conn]bool{}, flying: map[spec.ObjectID]*flight{}}
}

// Fetch copies an object from node into the sink as a sealed secondary copy
// and gives its size. An object that is here already is no error. On an error
// nothing of it is left in the sink. Fetches of one object at the same time
// are one: the later ones get the result of the first, whatever its source.
func (f *Fetcher) Fetch(ctx context.Context, node spec.NodeID, id spec.ObjectID) (uint64, error) {
	for {
		f.mu.Lock()
		first := f.flying[id]
		if first == nil {
			mine := &flight{done: make(chan struct{})}
			f.flying[id] = mine
			f.mu.Unlock()
			mine.size, mine.err = f.fetchTwice(ctx, node, id)
			f.mu.Lock()
			delete(f.flying, id)
			f.mu.Unlock()
			close(mine.done)
			return mine.size, mine.err
		}
		f.mu.Unlock()
		select {
		case <-first.done:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		// If the first one was only called off, its wish is not ours.
		if !errors.Is(first.err, context.Canceled) && !errors.Is(first.err, context.DeadlineExceeded) {
			return first.size, first.err
		}
	}
}

func (f *Fetcher) fetchTwice(ctx context.Context, node spec.NodeID, id spec.ObjectID) (uint64, error) {
	size, err := f.fetch(ctx, node, id)
	if err == nil || errors.Is(err, ErrUnknown) || ctx.Err() != nil {
		return size, err
	}
	// A kept connection may have been closed by the other side meanwhile: once
	// more with fresh ones.
	f.Forget(node)
	return f.fetch(ctx, node, id)
}

func (f *Fetcher) fetch(ctx context.Context, node spec.NodeID, id spec.ObjectID) (uint64, error) {
	size, err := f.size(ctx, node, id)
	if err != nil {
		return 0, err
	}
	alloc, err := f.create(ctx, id, size)
	if errors.Is(err, objectstore.ErrExists) {
		return size, nil
	}
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := f.ranges(ctx, node, id, f.sink.Bytes(alloc.Offset, size)); err != nil {
		f.sink.Abort(objectstore.Daemon, id)
		return 0, err
	}
	f.measure(node, size, time.Since(begun))
	_, err = f.sink.Seal(objectstore.Daemon, id, false)
	return size, err
}

func (f *Fetcher) create(ctx context.Context, id spec.ObjectID, size uint64) (objectstore.Alloc, error) {
	type result struct {
		alloc objectstore.Alloc
		err   error
	}
	got := make(chan result, 1)
	f.sink.Create(objectstore.Daemon, id, size, func(a objectstore.Alloc, err error) { got <- result{a, err} })
	select {
	case r := <-got:
		return r.alloc, r.err
	case <-ctx.Done():
		// Room may still be found later: give it back then. The store answers
		// every Create, at the latest when it is closed.
		go func() {
			if r := <-got; r.err == nil {
				f.sink.Abort(objectstore.Daemon, id)
			}
		}()
		return objectstore.Alloc{}, ctx.Err()
	}
}

// ranges fills dst over several connections.
func (f *Fetcher) ranges(ctx context.Context, node spec.NodeID, id spec.ObjectID, dst []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	total := (len(dst) + rangeBytes - 1) / rangeBytes
	streams := min(max(total/2, 1), maxStreams)
	next := make(chan int, total)
	for i := range total {
		next <- i
	}
	close(next)
	errs := make(chan error, streams)
	for range streams {
		go func() {
			err := f.with(ctx, node, func(conn net.Conn) error {
				for i := range next {
					off := i * rangeBytes
					part := dst[off:min(off+rangeBytes, len(dst))]
					if err := readRange(conn, id, uint64(off), part); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				cancel() // the others stop too: the object is not whole
			}
			errs <- err
		}()
	}
	var first error
	for range streams {
		if err := <-errs; err != nil && (first == nil || errors.Is(first, context.Canceled)) {
			first = err
		}
	}
	return first
}

func (f *Fetcher) size(ctx context.Context, node spec.NodeID, id spec.ObjectID) (size uint64, err error) {
	err = f.with(ctx, node, func(conn net.Conn) error {
		size, err = ask(conn, opSize, id, 0, 0)
		return err
	})
	return size, err
}

func readRange(conn net.Conn, id spec.ObjectID, off uint64, dst []byte) error {
	if _, err := ask(conn, opRange, id, off, uint64(len(dst))); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, dst); err != nil {
		return fmt.Errorf("fetch %s: %w", id, err)
	}
	return nil
}

func ask(conn net.Conn, op byte, id spec.ObjectID, off, n uint64) (size uint64, err error) {
	var req [requestSize]byte
	req[0] = op
	copy(req[1:], id[:])
	binary.LittleEndian.PutUint64(req[1+spec.ObjectIDSize:], off)
	binary.LittleEndian.PutUint64(req[1+spec.ObjectIDSize+8:], n)
	if _, err := conn.Write(req[:]); err != nil {
		return 0, fmt.Errorf("fetch %s: %w", id, err)
	}
	var head [answerSize]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0, fmt.Errorf("fetch %s: %w", id, err)
	}
	switch head[0] {
	case statusOK:
		return binary.LittleEndian.Uint64(head[1:]), nil
	case statusUnknown:
		return 0, fmt.Errorf("fetch %s: %w", id, ErrUnknown)
	default:
		return 0, fmt.Errorf("fetch %s: the source has another size (status %d)", id, head[0])
	}
}

// with runs use on a connection to node and keeps the connection if it is
// still in step. Cancelling ctx closes it.
func (f *Fetcher) with(ctx context.Context, node spec.NodeID, use func(net.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, err := f.take(ctx, node)
	if err != nil {
		return err
	}
	f.working(node, conn, true)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = use(conn)
	f.working(node, conn, false)
	cancelled := !stop()
	if cancelled || err != nil && !errors.Is(err, ErrUnknown) {
		_ = conn.Close()
		if cancelled {
			return errors.Join(ctx.Err(), err)
		}
		return err
	}
	f.give(node, conn)
	return err
}

func (f *Fetcher) take(ctx context.Context, node spec.NodeID) (net.Conn, error) {
	f.mu.Lock()
	if conns := f.idle[node]; len(conns) > 0 {
		conn := conns[len(conns)-1]
		f.idle[node] = conns[:len(conns)-1]
		f.mu.Unlock()
		return conn, nil
	}
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return nil, net.ErrClosed
	}
	return f.dial(ctx, node)
}

func (f *Fetcher) give(node spec.NodeID, conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.idle[node]) >= idleConns {
		_ = conn.Close()
		return
	}
	f.idle[node] = append(f.idle[node], conn)
}

// working notes the connections that are in use, so that Cut finds them.
func (f *Fetcher) working(node spec.NodeID, conn net.Conn, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !on {
		delete(f.busy[node], conn)
		if len(f.busy[node]) == 0 {
			delete(f.busy, node)
		}
		return
	}
	if f.busy[node] == nil {
		f.busy[node] = map[net.Conn]bool{}
	}
	f.busy[node][conn] = true
}

// Cut ends all fetches from a node that is dead: it may have gone without
// closing its connections.
func (f *Fetcher) Cut(node spec.NodeID) {
	f.Forget(node)
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.busy[node] {
		_ = conn.Close()
	}
}

// Forget closes the idle connections to a node that is gone.
func (f *Fetcher) Forget(node spec.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.idle[node] {
		_ = conn.Close()
	}
	delete(f.idle, node)
}

// Close closes the idle connections; running fetches end with their contexts.
func (f *Fetcher) Close() {
	f.mu.Lock()
	f.closed = true
	nodes := make([]spec.NodeID, 0, len(f.idle))
	for node := range f.idle {
		nodes = append(nodes, node)
	}
	f.mu.Unlock()
	for _, node := range nodes {
		f.Forget(node)
	}
}
