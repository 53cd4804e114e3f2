package objectstore

import (
	"slices"

	"ray/internal/spec"
)

// A client that stores objects of one size after another need not ask for each:
// it is lent room for the next ones. A spare belongs to nobody's object, so it
// is taken back before anything is dropped, spilled or refused for want of room,
// without waiting for the client, which may be busy: two words of its slot in
// the arena's header settle who has it. The client stores the number of the
// spare that it takes and then reads up to which number spares were taken back;
// the store does the same the other way round. So one of them sees the other.
// If the client finds its number taken back, it does not use the spare and says
// so (Return); the store leaves the spare alone until then if it has seen it taken.

const (
	// sparesEach is how many spares a client has at most. It tells of the objects
	// in them together, which saves both sides system calls.
	sparesEach = 8
	// spareBytes bounds the spares of a client, so the size of one: for more
	// than that, a question is cheap beside the copy.
	spareBytes = 16 << 20
	// sparesShare: all spares together take at most this part of the store,
	// and none is lent when less than this part of it is free.
	sparesShare = 8
)

// Spare is room that a client may use for one object of up to Size bytes,
// without a Create.
type Spare struct {
	Number       uint32 // counts up for each client
	Offset, Size uint64
	Warm         bool
}

// borrower is a client that has spares, or may get some.
type borrower struct {
	slot   int
	last   uint32 // number of the last spare
	size   uint64 // of the last object
	spares []lent // in the order of their numbers
	idle   bool   // none was used since the last Trim
}

type lent struct {
	number    uint32
	off, size uint64 // of the arena
}

// Lend gives a client that has just stored an object of size bytes room for
// the next ones, if the last one had the same size and there is plenty of room.
// slot is the client's slot.
func (s *Store) Lend(client uint32, slot int, size uint64) (got []Spare) {
	size = roundUp(size, align)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	b := s.borrowers[client]
	if b == nil {
		b = &borrower{slot: slot}
		s.borrowers[client] = b
	}
	if b.size != size {
		s.takeBack(client, b)
		b.size = size
		return nil
	}
	b.idle = false
	for len(b.spares) < sparesEach && size*uint64(len(b.spares)+1) <= spareBytes && s.mayLend(size) {
		off, warm, ok := s.table.alloc.alloc(client, size)
		if !ok {
			return got
		}
		b.last++
		b.spares = append(b.spares, lent{b.last, off, size})
		s.lent += size
		got = append(got, Spare{Number: b.last, Offset: headerSize + off, Size: size, Warm: warm})
	}
	return got
}

// mayLend: lock held.
func (s *Store) mayLend(size uint64) bool {
	a := s.table.alloc
	share := a.size / sparesShare
	return len(s.waiting) == 0 && s.lent+size <= share && a.used+size+share <= a.size
}

// Use makes the spare at offset the room of an object that its client has
// written there; Seal comes next. False: the client has no such spare.
func (s *Store) Use(client uint32, id spec.ObjectID, offset, size uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.borrowers[client]
	if b == nil || s.table.objects[id] != nil {
		return false
	}
	i := slices.IndexFunc(b.spares, func(l lent) bool { return headerSize+l.off == offset && size <= l.size && size+align > l.size })
	if i < 0 {
		return false
	}
	l := b.spares[i]
	b.spares = slices.Delete(b.spares, i, i+1)
	s.lent -= l.size
	s.table.add(&entry{id: id, off: l.off, size: size, creator: client, inArena: true})
	return true
}

// Return takes a spare back that its client took and does not use.
func (s *Store) Return(client uint32, number uint32) {
	s.mu.Lock()
	if b := s.borrowers[client]; b != nil {
		b.spares = slices.DeleteFunc(b.spares, func(l lent) bool {
			if l.number == number {
				s.unlend(client, l)
			}
			return l.number == number
		})
	}
	s.mu.Unlock()
	s.poke()
}

// unlend frees the room of a spare. Lock held.
func (s *Store) unlend(client uint32, l lent) {
	s.lent -= l.size
	s.table.alloc.release(l.off, l.size, client)
}

// takeBack ends the spares that a client has not taken. Lock held.
func (s *Store) takeBack(client uint32, b *borrower) (some bool) {
	if len(b.spares) == 0 {
		return false
	}
	taken := s.arena.endSpares(b.slot, b.last)
	b.spares = slices.DeleteFunc(b.spares, func(l lent) bool {
		free := l.number > taken
		if free {
			s.unlend(client, l)
			some = true
		}
		return free
	})
	return some
}

// takeAllBack ends all spares that nobody has taken; false if there were none.
// Lock held.
func (s *Store) takeAllBack() (some bool) {
	if s.lent == 0 {
		return false
	}
	for client, b := range s.borrowers {
		some = s.takeBack(client, b) || some
	}
	return some
}

// takeIdleBack ends the spares of clients that have stored nothing since the
// last time. Lock held.
func (s *Store) takeIdleBack() {
	for client, b := range s.borrowers {
		if b.idle {
			s.takeBack(client, b)
		}
		b.idle = true
	}
}

// forgetBorrower frees the spares of a client that is gone. Lock held.
func (s *Store) forgetBorrower(client uint32) {
	if b := s.borrowers[client]; b != nil {
		for _, l := range b.spares {
			s.unlend(client, l)
		}
		delete(s.borrowers, client)
	}
}
