package objectstore

import (
	"fmt"
	"slices"
	"time"
)

// startRestore asks the store's goroutine to bring e back. Those who wait for
// objects hold memory that those who create need, so they go first. Lock held.
func (s *Store) startRestore(e *entry) {
	e.busy = true
	r := &request{id: e.id, size: e.size, restore: e}
	i := slices.IndexFunc(s.waiting, func(o *request) bool { return o.restore == nil })
	if i < 0 {
		i = len(s.waiting)
	}
	s.waiting = slices.Insert(s.waiting, i, r)
}

// goRestore fills the room that e got; it is busy: nobody moves or frees it.
func (s *Store) goRestore(e *entry) {
	s.mu.Lock()
	if s.closed {
		s.table.giveBack(e)
		s.endRestore(e, ErrClosed)
		return
	}
	p := e.place
	if p != nil {
		p.users++
	}
	s.background(func() { s.restore(e, p) })
	s.mu.Unlock()
}

// restore reads e from p; nil: it was deleted meanwhile.
func (s *Store) restore(e *entry, p *place) {
	err := ErrUnknown
	began := time.Now()
	if p != nil {
		err = p.read(e.id, 0, s.data(e))
	}
	s.mu.Lock()
	s.stats.RestoreTime += time.Since(began)
	s.leave(p)
	if err == nil && !e.gone {
		e.inArena = true
		s.table.inside++
		s.stats.RestoredTotal += e.size
		s.stats.RestoredObjects++
	} else {
		s.table.giveBack(e)
	}
	s.endRestore(e, err)
	s.poke()
}

// endRestore answers everybody who waited for e. Lock held; it lets go of it.
func (s *Store) endRestore(e *entry, err error) {
	e.busy = false
	waiters := e.waiters
	e.waiters = nil
	if e.gone {
		err = fmt.Errorf("get %s: %w", e.id, ErrUnknown)
		s.table.drop(e)
	}
	if err == nil {
		for _, w := range waiters {
			s.table.pin(w.client, e)
		}
	}
	off, size := s.fileOffset(e), e.size
	s.mu.Unlock()
	for _, w := range waiters {
		if err != nil {
			w.done(0, 0, err)
		} else {
			w.done(off, size, nil)
		}
	}
}

// dropWaiters takes a dead client's wishes off the objects that are being
// restored. Lock held; the caller answers them.
func (s *Store) dropWaiters(client uint32) (dropped []waiter) {
	for _, e := range s.table.objects {
		if len(e.waiters) == 0 {
			continue
		}
		kept := e.waiters[:0]
		for _, w := range e.waiters {
			if w.client == client {
				dropped = append(dropped, w)
			} else {
				kept = append(kept, w)
			}
		}
		e.waiters = kept
	}
	return dropped
}
