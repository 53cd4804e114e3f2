package objectstore

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// fullTick is how often a full store looks again while requests wait.
const fullTick = 20 * time.Millisecond

// piecesHaste: a request waits for so much less long if there is room for it,
// but not in one piece.
const piecesHaste = 20

// spillPause is how long a disk that took nothing is left alone.
const spillPause = 500 * time.Millisecond

// What is written and read at the same time.
const (
	maxSpills = 2 // files being written
	maxIO     = 4 // of everything that needs a disk
)

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
		s.writeAhead()
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
			s.goRestore(e)
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
		var going bool
		if going, err = s.spillFor(r.size); going || s.patient(r, time.Now()) {
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
		s.goRestore(e)
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
		grace := s.cfg.FullGrace
		if s.table.alloc.size-s.table.alloc.used >= r.size && s.over != nil {
			grace /= piecesHaste // there is room, but in pieces: only luck makes them one
		}
		r.deadline = now.Add(grace)
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

// spillFor sees to it that primary copies of about need bytes are on their way
// to disk. Not going: there is nothing to spill, or err says why nothing can be.
func (s *Store) spillFor(need uint64) (going bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.volumes) == 0 || s.cfg.NoSpill:
		return false, nil
	case time.Now().Before(s.spillAgain):
		return s.spills > 0, s.spillErr
	case s.spills >= maxSpills || s.spilling >= need:
		return true, nil
	}
	// A file of many small objects costs less than many small files, but no
	// more of them should leave memory than that is worth.
	fused := min(s.cfg.MinSpill, s.table.alloc.size/2)
	victims := s.table.victims(true, max(need, fused))
	victims = victims[:min(len(victims), s.cfg.MaxFused)]
	if len(victims) == 0 {
		return s.spills > 0, nil
	}
	var sum uint64
	for _, e := range victims {
		e.busy = true
		sum += e.size
	}
	s.spills++
	s.spilling += sum
	s.background(func() { s.spill(victims, sum) })
	return true, nil
}

// spill writes objects to disk and frees their memory. They are busy: nobody
// moves them.
func (s *Store) spill(victims []*entry, sum uint64) {
	s.mu.Lock()
	var write []*entry
	for _, e := range victims {
		switch {
		case e.gone:
			s.spilled(e, nil)
		case e.place != nil: // it has been there before
			s.spilled(e, e.place)
		default:
			write = append(write, e)
		}
	}
	s.mu.Unlock()
	s.poke()
	var err error
	for range s.volumes {
		if len(write) == 0 {
			break
		}
		var volumeErr error
		if write, volumeErr = s.writeFile(s.nextVolume(), write); volumeErr == nil {
			err = nil
			break
		}
		err = errors.Join(err, volumeErr)
	}
	s.mu.Lock()
	for _, e := range write { // no volume takes them
		s.spilled(e, nil)
	}
	s.spills--
	s.spilling -= sum
	if s.spillErr = err; err != nil {
		s.spillAgain = time.Now().Add(spillPause)
		s.cfg.Log.Warn("object store: objects could not be spilled", "error", err)
	}
	s.mu.Unlock()
	s.poke()
}

func (s *Store) nextVolume() volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn++
	return s.volumes[s.turn%len(s.volumes)]
}

// writeFile puts objects into one file and gives those that it has no room for.
func (s *Store) writeFile(v volume, list []*entry) (left []*entry, err error) {
	var total uint64
	parts, sums := make([][]byte, len(list)), make([][]byte, len(list))
	for i, e := range list {
		parts[i] = s.data(e)
		sums[i] = sumsOf(parts[i])
		total += e.size
	}
	if err := v.room(total); err != nil {
		return list, fmt.Errorf("spill %s: %w", list[0].id, err)
	}
	s.mu.Lock()
	s.fileNumber++
	f := &file{volume: v, name: fmt.Sprintf("%s-multi-%d-%d", list[0].id, len(list), s.fileNumber), live: 1}
	s.files[f] = true
	s.mu.Unlock()
	done := 0
	began := time.Now()
	err = v.write(f.name, parts, func(i int, off uint64) {
		s.mu.Lock()
		f.live++
		s.spilled(list[i], &place{file: f, off: off, size: list[i].size, sums: sums[i], users: 1})
		done = i + 1
		s.mu.Unlock()
		s.poke()
	})
	s.mu.Lock()
	s.stats.SpillTime += time.Since(began)
	s.leaveFile(f)
	s.mu.Unlock()
	if err != nil {
		return list[done:], fmt.Errorf("spill %s: %w", list[min(done, len(list)-1)].id, err)
	}
	return nil, nil
}

// spilled ends the spilling of e, which is at p now; nil: nowhere. Lock held.
func (s *Store) spilled(e *entry, p *place) {
	stay := e.stays && len(s.waiting) == 0 && !e.gone
	e.busy, e.stays = false, false
	switch {
	case e.gone: // deleted meanwhile
		s.leave(p)
		if !e.pinned() {
			s.table.drop(e)
		}
		return
	case p == nil:
		return
	case e.place == nil:
		e.place = p
		s.table.spilled += e.size
		s.stats.SpilledTotal += e.size
		s.stats.SpilledObjects++
	}
	if !e.pinned() && !stay { // else somebody took it meanwhile: keep both
		s.table.drop(e)
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
