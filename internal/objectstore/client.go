package objectstore

import (
	"ray/internal/spec"
)

// Abort gives an unsealed allocation back. An unknown one is no error.
func (s *Store) Abort(client uint32, id spec.ObjectID) {
	s.mu.Lock()
	if e := s.table.objects[id]; e != nil && !e.sealed && e.creator == client {
		s.table.remove(e)
	}
	s.mu.Unlock()
	s.poke()
}

// SetPrimary changes whether the copy may be dropped.
func (s *Store) SetPrimary(id spec.ObjectID, primary bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.table.objects[id]; e != nil {
		e.primary = primary
	}
}

// Unpin takes n pins of a client back.
func (s *Store) Unpin(client uint32, id spec.ObjectID, n int) {
	s.mu.Lock()
	if e := s.table.objects[id]; e != nil && e.pins[client] > 0 {
		s.table.unpin(client, e, n)
	} else {
		for z := range s.table.zombies {
			if z.id == id && z.pins[client] > 0 {
				s.table.unpin(client, z, n)
				break
			}
		}
	}
	s.stuck = false
	pending := len(s.waiting) > 0
	s.mu.Unlock()
	if pending {
		s.poke()
	}
}

// Delete forgets objects. Bytes that a client still has pinned stay until it
// lets go.
func (s *Store) Delete(ids ...spec.ObjectID) {
	s.mu.Lock()
	for _, id := range ids {
		if e := s.table.objects[id]; e != nil {
			s.leave(s.table.remove(e))
		}
	}
	s.stuck = false
	pending := len(s.waiting) > 0
	s.mu.Unlock()
	if pending {
		s.poke()
	}
}

// ReleaseClient gives back everything of a client whose process is gone.
func (s *Store) ReleaseClient(client uint32) {
	s.mu.Lock()
	s.forgetBorrower(client)
	s.table.releaseClient(client)
	s.stuck = false
	kept := s.waiting[:0]
	var dropped []*request
	for _, r := range s.waiting {
		if r.client == client && r.restore == nil {
			dropped = append(dropped, r)
		} else {
			kept = append(kept, r)
		}
	}
	s.waiting = kept
	unwanted := s.dropWaiters(client)
	s.mu.Unlock()
	for _, r := range dropped {
		r.done(nil, false, ErrClosed)
	}
	for _, w := range unwanted {
		w.done(0, 0, ErrClosed)
	}
	s.poke()
}
