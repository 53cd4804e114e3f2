package objectstore

import (
	"errors"
	"os"
	"slices"
	"time"
)

// fullTick is how often a full store looks again while requests wait.
const fullTick = 20 * time.Millisecond

// spillBatch bounds how much is written to disk beyond what a request needs.
const spillBatch = 64 << 20

// run serves requests that wait for room, and makes pages exist ahead.
func (s *Store) run() {
	defer close(s.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-s.wake:
		case <-timer.C:
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.populateAhead()
		if s.serve() {
			timer.Reset(fullTick)
		}
	}
}

// serve answers waiting requests in order; it returns true if some are left.
func (s *Store) serve() (more bool) {
	for {
		s.mu.Lock()
		if s.closed || len(s.waiting) == 0 {
			s.mu.Unlock()
			return false
		}
		r := s.waiting[0]
		if r.restore != nil && (r.restore.gone || len(r.restore.waiters) == 0) {
			s.waiting = s.waiting[1:]
			s.endRestore(r.restore, ErrUnknown)
			continue
		}
		e, warm, evicted, ok := s.tryCreate(r)
		if ok {
			s.waiting = s.waiting[1:]
		}
		s.mu.Unlock()
		s.evicted(evicted)
		if ok && r.restore != nil {
			s.restore(e)
			continue
		}
		if ok {
			r.done(e, warm, nil)
			continue
		}
		freed, err := s.spillFor(r.size)
		if freed && err == nil {
			continue
		}
		if err == nil && roundUp(r.size, align) <= s.table.alloc.size && time.Now().Before(r.deadline) {
			return true
		}
		s.giveUp(r, err)
	}
}

// giveUp answers a request that gets no room.
func (s *Store) giveUp(r *request, cause error) {
	err := s.fullError(r.size, cause)
	s.mu.Lock()
	i := slices.Index(s.waiting, r)
	if i < 0 { // its client died or the store was closed: it has its answer
		s.mu.Unlock()
		return
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	if r.restore != nil {
		s.endRestore(r.restore, err)
		return
	}
	s.mu.Unlock()
	r.done(nil, false, err)
}

// spillFor writes primary copies to disk until about need bytes are free.
func (s *Store) spillFor(need uint64) (freed bool, err error) {
	if s.cfg.SpillDir == "" {
		return false, nil
	}
	// A little more at once: choosing looks at every object.
	need = max(need, min(s.table.alloc.size/16, spillBatch))
	s.mu.Lock()
	victims := s.table.victims(true, need)
	for _, e := range victims {
		e.busy = true
	}
	s.mu.Unlock()
	for _, e := range victims {
		ok, spillErr := s.spillOne(e)
		freed = freed || ok
		err = errors.Join(err, spillErr)
	}
	if freed {
		err = nil
	}
	return freed, err
}

// spillOne writes one object and frees its memory. e is busy: nobody moves it.
func (s *Store) spillOne(e *entry) (bool, error) {
	path := e.file
	var err error
	if path == "" {
		path, err = writeSpill(s.cfg.SpillDir, e.id, s.arena.bytes(e.off, e.size))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.busy = false
	if err != nil {
		if e.gone && !e.pinned() {
			s.table.drop(e)
		}
		return false, err
	}
	switch {
	case e.gone: // deleted meanwhile
		s.removeFile(path)
		if !e.pinned() {
			s.table.drop(e)
		}
		return true, nil
	case e.file == "":
		e.file = path
		s.table.spilled += e.size
		s.stats.SpilledTotal += e.size
		s.stats.SpilledObjects++
	}
	if e.pinned() { // somebody took it meanwhile: keep both
		return false, nil
	}
	s.table.drop(e)
	return true, nil
}

func (s *Store) removeFile(path string) {
	if path != "" {
		_ = os.Remove(path)
	}
}

// Page allocation ahead: a first touch costs about 2 µs a page; the daemon
// pays it while the client is still copying the object before.
const (
	aheadMin = 1 << 20
	aheadMax = 128 << 20
)

// aheadOf asks for as many fresh pages as the last object took. Lock held.
func (s *Store) aheadOf(size uint64, warm bool) {
	if !warm && size >= aheadMin {
		s.ahead = min(size, aheadMax)
		s.poke()
	}
}

func (s *Store) populateAhead() {
	s.mu.Lock()
	want := s.ahead
	s.ahead = 0
	e, ok := s.table.alloc.fresh()
	s.mu.Unlock()
	if want == 0 || !ok {
		return
	}
	// Populating pages that meanwhile belong to an object is harmless.
	if err := s.arena.populate(e.off, min(want, e.size)); err != nil {
		s.cfg.Log.Warn("object store: pages could not be allocated ahead", "error", err)
	}
}
