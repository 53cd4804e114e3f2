package objectstore

import (
	"fmt"
	"slices"
	"time"

	"ray/internal/spec"
)

// Stats are totals since the start, and what is held now, in bytes and objects.
type Stats struct {
	Capacity, Used, Spilled         uint64
	Overflow                        uint64 // bytes of objects in memory that is backed by a file
	Objects                         int    // in memory
	SpilledTotal, RestoredTotal     uint64
	SpilledObjects, RestoredObjects int
	SpillTime, RestoreTime          time.Duration // of all writes and reads of files together
	Evicted                         int
	Waiting                         int // creates and restores that have found no room yet
}

// InMemory tells whether the object is sealed here and View needs no disk.
func (s *Store) InMemory(id spec.ObjectID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table.objects[id]
	return e != nil && e.sealed && e.inArena
}

// Has tells whether the object is sealed here, in memory or spilled.
func (s *Store) Has(id spec.ObjectID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table.objects[id]
	return e != nil && e.sealed
}

// Get pins an object for a client and tells where it lies. done is called
// once: before Get returns if the object is in memory, else when it has been
// restored from disk.
func (s *Store) Get(client uint32, id spec.ObjectID, done func(offset, size uint64, err error)) {
	s.mu.Lock()
	e := s.table.objects[id]
	if e == nil || !e.sealed {
		s.mu.Unlock()
		done(0, 0, fmt.Errorf("get %s: %w", id, ErrUnknown))
		return
	}
	if e.inArena {
		s.table.pin(client, e)
		off, size := s.fileOffset(e), e.size
		s.mu.Unlock()
		done(off, size, nil)
		return
	}
	if s.closed {
		s.mu.Unlock()
		done(0, 0, ErrClosed)
		return
	}
	e.waiters = append(e.waiters, waiter{client, done})
	if !e.busy {
		s.startRestore(e)
	}
	s.mu.Unlock()
	s.poke()
}

// View reads an object in place: call release when done with the bytes. A
// spilled object is read from its file.
func (s *Store) View(id spec.ObjectID) (data []byte, release func(), err error) {
	s.mu.Lock()
	e := s.table.objects[id]
	if e == nil || !e.sealed {
		s.mu.Unlock()
		return nil, nil, fmt.Errorf("read %s: %w", id, ErrUnknown)
	}
	if e.inArena {
		s.table.pin(Daemon, e)
		data = s.data(e)
		s.mu.Unlock()
		return data, func() { s.Unpin(Daemon, id, 1) }, nil
	}
	p := e.place
	p.users++
	s.mu.Unlock()
	data = aligned(int(roundUp(p.size, blockSize)))[:p.size]
	err = p.read(id, 0, data)
	s.left(p)
	return data, func() {}, err
}

// Range reads n bytes at off of an object, in place if it is in memory, else
// from its spill file without bringing it back; for transfers, which read
// large objects piece by piece. size is the whole object's. n is cut at its end.
func (s *Store) Range(id spec.ObjectID, off, n uint64) (data []byte, size uint64, release func(), err error) {
	s.mu.Lock()
	e := s.table.objects[id]
	if e == nil || !e.sealed {
		s.mu.Unlock()
		return nil, 0, nil, fmt.Errorf("read %s: %w", id, ErrUnknown)
	}
	size = e.size
	off = min(off, size)
	n = min(n, size-off)
	if e.inArena {
		s.table.pin(Daemon, e)
		data = s.data(e)[off : off+n]
		s.mu.Unlock()
		return data, size, func() { s.Unpin(Daemon, id, 1) }, nil
	}
	p := e.place
	p.users++
	s.mu.Unlock()
	data, err = p.readRange(id, off, n)
	s.left(p)
	if err != nil {
		return nil, 0, nil, err
	}
	return data, size, func() {}, nil
}

// Part is Range of an object that the daemon itself has created and perhaps
// not sealed: its bytes are what has been written so far.
func (s *Store) Part(id spec.ObjectID, off, n uint64) (data []byte, size uint64, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table.objects[id]
	if e == nil || !e.inArena || e.creator != Daemon {
		return nil, 0, nil, fmt.Errorf("read %s: %w", id, ErrUnknown)
	}
	off = min(off, e.size)
	s.table.pin(Daemon, e)
	return s.data(e)[off : off+min(n, e.size-off)], e.size, func() { s.Unpin(Daemon, id, 1) }, nil
}

// Holding describes one object for people and for FullError.
type Holding struct {
	ID      spec.ObjectID
	Size    uint64
	Pins    int // how many clients have it pinned
	Primary bool
	Sealed  bool
	Spilled bool
	Deleted bool // nobody refers to it, but it is pinned
}

// List gives the objects that take room, biggest first, at most limit (0 = all).
func (s *Store) List(limit int) []Holding {
	s.mu.Lock()
	out := make([]Holding, 0, len(s.table.objects))
	add := func(e *entry) {
		out = append(out, Holding{ID: e.id, Size: e.size, Pins: len(e.pins), Primary: e.primary,
			Sealed: e.sealed, Spilled: !e.inArena, Deleted: e.gone})
	}
	for _, e := range s.table.objects {
		add(e)
	}
	for e := range s.table.zombies {
		add(e)
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b Holding) int { return int(int64(b.Size) - int64(a.Size)) })
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

// Census is what takes a walk over all objects to know.
type Census struct {
	Primary uint64 // bytes of primary copies that are in memory
	// Pins are the clients that have an object's memory in use, but for Daemon.
	Pins map[spec.ObjectID][]uint32
	// Deleted are the sizes of those that nothing refers to any more but pins.
	Deleted map[spec.ObjectID]uint64
}

// Census takes it.
func (s *Store) Census() Census {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Census{Pins: map[spec.ObjectID][]uint32{}, Deleted: map[spec.ObjectID]uint64{}}
	count := func(e *entry) {
		if e.primary && e.inArena {
			out.Primary += e.size
		}
		for client := range e.pins {
			if client != Daemon {
				out.Pins[e.id] = append(out.Pins[e.id], client)
			}
		}
	}
	for _, e := range s.table.objects {
		count(e)
	}
	for e := range s.table.zombies {
		count(e)
		out.Deleted[e.id] = e.size
	}
	return out
}

// Peak is the most that was used since the last call, and whether somebody
// wanted room since then that was not free.
func (s *Store) Peak() (used uint64, tight bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.table.alloc.used - s.lent
	used, tight = max(s.peak, now), s.tight || len(s.waiting) > 0
	s.peak, s.tight = now, false
	return used, tight
}

// Stats takes the figures of now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Capacity, st.Used = s.table.alloc.size, s.table.alloc.used-s.lent
	st.Spilled, st.Objects, st.Waiting = s.table.spilled, s.table.inside, len(s.waiting)
	if s.over != nil {
		st.Overflow = s.over.alloc.used
	}
	return st
}
