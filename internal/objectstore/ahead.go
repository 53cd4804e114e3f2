package objectstore

import (
	"cmp"
	"slices"
	"time"
)

// A store that fills is written to disk before it is full, so that whoever
// needs room then finds memory that can be given up at once. From
// SpillThreshold on, primary copies are written, least recently used first,
// until those that are in memory only take half of the store, or less if the
// threshold is lower: writing goes in runs, not object by object at the threshold.

// writeBehind is the state of that.
type writeBehind struct {
	on     bool      // a run is under way
	looked time.Time // the last walk over all objects
}

const (
	// aheadPause is the least time between two walks over all objects.
	aheadPause = 100 * time.Millisecond
	// aheadRetry is for how long a disk that failed is left alone.
	aheadRetry = 30 * time.Second
)

// fuller wakes the store's goroutine if it may be time to write. Lock held.
func (s *Store) fuller(now time.Time) {
	if s.overThreshold() && now.Sub(s.behind.looked) > aheadPause {
		s.poke()
	}
}

func (s *Store) overThreshold() bool {
	t := s.cfg.SpillThreshold
	return t > 0 && t < 1 && !s.cfg.NoSpill && len(s.volumes) > 0 && float64(s.table.alloc.used-s.lent) > t*float64(s.table.alloc.size)
}

// writeAhead begins the next file of a run. What is spilled because somebody
// waits for room goes before.
func (s *Store) writeAhead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, pause := time.Now(), aheadPause
	if s.spillErr != nil {
		pause = aheadRetry
	}
	if s.closed || len(s.waiting) > 0 || s.spills > 0 || !s.behind.on && (!s.overThreshold() || now.Sub(s.behind.looked) <= pause) {
		return
	}
	s.behind.looked = now
	list, sum := s.table.unwritten()
	begin := uint64(s.cfg.SpillThreshold * float64(s.table.alloc.size))
	goal := min(s.table.alloc.size/2, begin)
	if s.behind.on {
		begin = goal
	}
	if s.behind.on = s.spillErr == nil && s.overThreshold() && sum > begin; !s.behind.on {
		return
	}
	var bytes uint64
	n := 0
	for n < min(len(list), s.cfg.MaxFused) && bytes < min(s.cfg.MinSpill, s.table.alloc.size/2) {
		list[n].busy, list[n].stays = true, true
		bytes += list[n].size
		n++
	}
	s.spills++
	s.spilling += bytes
	s.background(func() { s.spill(list[:n], bytes) })
}

// unwritten lists the primary copies that are in memory only, least recently
// used first, and what they take.
func (t *table) unwritten() (list []*entry, sum uint64) {
	for _, e := range t.objects {
		if e.sealed && e.primary && e.inArena && e.over == nil && e.place == nil && !e.busy {
			list = append(list, e)
			sum += e.size
		}
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.used, b.used) })
	return list, sum
}
