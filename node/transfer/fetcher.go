package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"ray/internal/objectstore"
	"ray/internal/spec"
)

// Errors of a source.
var (
	ErrUnknown = errors.New("the source does not have the object")
	errStalled = errors.New("the source has only a part of the object, and gets no more of it")
)

// Sizes of ranges and how many streams share a large object.
const (
	rangeBytes = 2 << 20
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
	self spec.NodeID
	dial Dial
	sink Sink

	mu     sync.Mutex
	idle   map[spec.NodeID][]net.Conn
	busy   map[spec.NodeID]map[net.Conn]bool
	flying map[spec.ObjectID]*flight
	rates  map[spec.NodeID]float64
	closed bool

	stall    time.Duration // see stallAfter
	received atomic.Uint64
}

// NewFetcher makes the Fetcher of the node self; Close it at the end.
func NewFetcher(self spec.NodeID, dial Dial, sink Sink) *Fetcher {
	return &Fetcher{self: self, dial: dial, stall: stallAfter, sink: sink, idle: map[spec.NodeID][]net.Conn{}, busy: map[spec.NodeID]map[net.Conn]bool{}, flying: map[spec.ObjectID]*flight{}}
}

// Received is how many bytes of objects have come from other nodes.
func (f *Fetcher) Received() uint64 { return f.received.Load() }

// Fetch copies an object from the first of nodes that has it into the sink, as
// a sealed secondary copy, and gives its size. If a node fails in the middle
// the next one gives the rest. An object that is here already is no error. On
// an error nothing of it is left in the sink, and without names the nodes that
// do not have it. Fetches of one object at the same time are one: the later
// ones get the result of the first, whatever its sources.
func (f *Fetcher) Fetch(ctx context.Context, id spec.ObjectID, nodes []spec.NodeID) (size uint64, without []spec.NodeID, err error) {
	for {
		f.mu.Lock()
		first := f.flying[id]
		if first == nil {
			mine := newFlight()
			f.flying[id] = mine
			f.mu.Unlock()
			mine.without, mine.err = f.fetch(ctx, mine, id, nodes)
			f.mu.Lock()
			delete(f.flying, id)
			f.mu.Unlock()
			close(mine.done)
			return mine.size, mine.without, mine.err
		}
		f.mu.Unlock()
		select {
		case <-first.done:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
		// If the first one was only called off, its wish is not ours.
		if !errors.Is(first.err, context.Canceled) && !errors.Is(first.err, context.DeadlineExceeded) {
			return first.size, first.without, first.err
		}
	}
}

// fetch asks one node after the other until the object is whole.
func (f *Fetcher) fetch(ctx context.Context, fl *flight, id spec.ObjectID, nodes []spec.NodeID) (without []spec.NodeID, err error) {
	err = fmt.Errorf("fetch %s: no node is said to have it", id)
	for i, node := range nodes {
		err = f.from(ctx, fl, id, node, i > 0)
		if err != nil && !errors.Is(err, ErrUnknown) && !fl.refused && ctx.Err() == nil {
			// A kept connection may have been closed by the other side
			// meanwhile: once more with fresh ones.
			f.Forget(node)
			err = f.from(ctx, fl, id, node, true)
		}
		if err == nil || fl.refused || ctx.Err() != nil {
			break
		}
		if errors.Is(err, ErrUnknown) {
			without = append(without, node)
		}
	}
	switch {
	case fl.dst == nil: // it was here, or there is no room
	case err != nil:
		f.sink.Abort(objectstore.Daemon, id)
	default:
		_, err = f.sink.Seal(objectstore.Daemon, id, false)
	}
	return without, err
}

// from brings what is missing of an object from node, or from the one that
// node names instead because that has, or is getting, a copy too.
func (f *Fetcher) from(ctx context.Context, fl *flight, id spec.ObjectID, node spec.NodeID, direct bool) error {
	size, other, err := f.open(ctx, node, id, direct)
	if err != nil {
		return err
	}
	if here, err := f.room(ctx, fl, id, size); here || err != nil {
		return err
	}
	if !other.IsZero() && other != f.self && f.fill(ctx, fl, id, other) == nil {
		return nil
	}
	begun, before := time.Now(), fl.missing()
	err = f.fill(ctx, fl, id, node)
	if err == nil && len(before) == len(fl.have) {
		f.measure(node, size, time.Since(begun))
	}
	return err
}

// room makes room for the object, or says that it is here already.
func (f *Fetcher) room(ctx context.Context, fl *flight, id spec.ObjectID, size uint64) (here bool, err error) {
	if fl.dst != nil {
		if fl.size != size {
			return false, fmt.Errorf("fetch %s: one source has %d bytes of it, another %d", id, fl.size, size)
		}
		return false, nil
	}
	fl.size = size
	alloc, err := f.create(ctx, id, size)
	if err != nil {
		fl.refused = true
		if errors.Is(err, objectstore.ErrExists) {
			return true, nil
		}
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.begin(f.sink.Bytes(alloc.Offset, size))
	return false, nil
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

// fill brings the missing ranges from one node over several connections.
func (f *Fetcher) fill(ctx context.Context, fl *flight, id spec.ObjectID, node spec.NodeID) error {
	missing := fl.missing()
	if len(missing) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan int, len(missing))
	for _, i := range missing {
		next <- i
	}
	close(next)
	errs := make(chan error, maxStreams)
	streams := min(max(len(missing)/2, 1), maxStreams)
	for range streams {
		go func() {
			err := f.with(ctx, node, func(conn net.Conn) error { return f.stream(conn, fl, id, next) })
			if err != nil {
				cancel() // the others stop too: another node gives the rest
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

// stream reads ranges one after the other, and asks for each while the one
// before is on its way.
func (f *Fetcher) stream(conn net.Conn, fl *flight, id spec.ObjectID, next <-chan int) error {
	i, more := <-next
	if more {
		if err := f.ask(conn, opRange, id, fl.at(i), fl.part(i)); err != nil {
			return err
		}
	}
	for more {
		after, another := <-next
		if another {
			if err := f.ask(conn, opRange, id, fl.at(after), fl.part(after)); err != nil {
				return err
			}
		}
		if err := readRange(conn, id, fl.part(i)); err != nil {
			// Not as it is: answers may still come, the connection is used up.
			return fmt.Errorf("in the middle of it: %v", err)
		}
		f.received.Add(uint64(len(fl.part(i))))
		f.mu.Lock()
		fl.arrived(i)
		f.mu.Unlock()
		i, more = after, another
	}
	return nil
}
