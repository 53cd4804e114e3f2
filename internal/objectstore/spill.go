package objectstore

import (
	"errors"
	"os"
	"slices"
	"time"

	"ray/internal/spec"
)

// fullTick is how often a full store looks again while requests wait.
const fullTick = 20 * time.Millisecond

// spillPause is how long a disk that took nothing is left alone.
const spillPause = 500 * time.Millisecond

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
		if s.wait(r) {
			return true
		}
	}
}

// wait makes room for r, or tells that it has to wait for others to let go.
// One that has waited long enough, or can never fit, gets memory on disk.
func (s *Store) wait(r *request) (wait bool) {
	var err error
	if roundUp(r.size, align) <= s.table.alloc.size {
		var freed bool
		if freed, err = s.spillFor(r.size); freed {
			return false
		}
		if s.patient(r, time.Now()) {
			return true
		}
	}
	e, overErr := s.fromOverflow(r)
	switch {
	case overErr != nil:
		if err == nil && !errors.Is(overErr, ErrFull) {
			err = overErr
		}
		s.giveUp(r, err)
	case e == nil:
	case r.restore != nil:
		s.restore(e)
	default:
		r.done(e, false, nil)
	}
	return false
}

// patient tells whether r may still wait for others to let go.
func (s *Store) patient(r *request, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.deadline.IsZero() {
		r.deadline = now.Add(s.cfg.FullGrace)
	}
	if !s.stuck && now.Before(r.deadline) {
		return true
	}
	s.stuck = true
	return false
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

// spillFor writes primary copies to disk until about need bytes are free. It
// fails only if nothing could be written.
func (s *Store) spillFor(need uint64) (freed bool, err error) {
	if len(s.disks) == 0 || s.cfg.NoSpill || time.Now().Before(s.spillAgain) {
		return false, s.spillErr
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
	if s.spillErr = err; err != nil {
		s.spillAgain = time.Now().Add(spillPause)
		s.cfg.Log.Warn("object store: objects could not be spilled", "error", err)
	}
	return freed, err
}

// write puts an object on the next of the disks that takes it.
func (s *Store) write(id spec.ObjectID, data []byte) (path string, err error) {
	for range s.disks {
		d := s.disks[s.nextDisk%len(s.disks)]
		s.nextDisk++
		path, writeErr := writeSpill(d, id, data)
		if writeErr == nil {
			return path, nil
		}
		err = errors.Join(err, writeErr)
	}
	return "", err
}

// spillOne writes one object and frees its memory. e is busy: nobody moves it.
func (s *Store) spillOne(e *entry) (bool, error) {
	path := e.file
	var err error
	if path == "" {
		path, err = s.write(e.id, s.arena.bytes(e.off, e.size))
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
