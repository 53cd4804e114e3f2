package owner

import (
	"strconv"

	"ray/internal/spec"
)

// lineage is the kept tasks, from the one that was kept first, and what they
// take. Over its bound the first of them are forgotten, while what they made
// is still there: then it cannot be made again.
type lineage struct {
	first, last *Task
	bytes       uint64
}

// taskCost is about what a task takes in memory without its arguments.
const taskCost = 512

// keep makes a finished task lineage: it will be run again if what it made is
// lost.
func (s *State) keep(t *Task) {
	t.kept, t.live = true, t.large
	for n := range t.NReturns {
		if o := s.objects[t.ID.Return(uint32(n+1))]; o != nil {
			t.live++
			o.task = t
		}
	}
	t.cost = taskCost + uint64(len(t.Payload))
	for _, refs := range [][]spec.Ref{t.Deps, t.Refs} {
		for _, r := range refs {
			o := s.ref(r)
			o.lineage++
			t.cost += uint64(len(r.ID)+len(r.Owner)) + uint64(len(o.Blob)) // small arguments stay with it
		}
	}
	l := &s.lineage
	l.bytes += t.cost
	if t.before = l.last; t.before != nil {
		t.before.after = t
	} else {
		l.first = t
	}
	l.last = t
}

// dropLineage forgets a kept task: nothing that it made is left, or it has to
// be given up.
func (s *State) dropLineage(t *Task) {
	t.kept = false
	delete(s.tasks, t.ID)
	l := &s.lineage
	l.bytes -= t.cost
	if t.before != nil {
		t.before.after = t.after
	} else {
		l.first = t.after
	}
	if t.after != nil {
		t.after.before = t.before
	} else {
		l.last = t.before
	}
	t.before, t.after = nil, nil
	for _, r := range t.Deps {
		s.unlineage(r)
	}
	for _, r := range t.Refs {
		s.unlineage(r)
	}
}

// boundLineage gives up the oldest kept tasks until the rest is within the bound.
func (s *State) boundLineage() {
	for t := s.lineage.first; t != nil && s.MaxLineage > 0 && s.lineage.bytes > s.MaxLineage; {
		if t.State != TaskDone { // it is being run again
			t = t.after
			continue
		}
		give := func(o *Object) { o.task, o.evicted = nil, true }
		s.items(t, give)
		for n := range t.NReturns {
			if o := s.objects[t.ID.Return(uint32(n+1))]; o != nil && o.task == t {
				give(o)
			}
		}
		s.dropLineage(t)
		t = s.lineage.first // dropping it may have dropped others
	}
}

// evictedText says why the lineage of an object is gone.
func (s *State) evictedText() string {
	return "its lineage, the task that made it, was evicted to keep the memory for lineage within RAY_max_lineage_bytes=" +
		strconv.FormatUint(s.MaxLineage, 10) + ": set that higher where the cluster is started"
}

// irreplaceable tells whether kept tasks need the value of o that is there,
// because nothing can make it again when they are to run again.
func (s *State) irreplaceable(o *Object) bool {
	switch {
	case !o.Known() || s.NoRemake:
		return false
	case o.Where == Inline:
		return true // small: it takes less than making it again
	case !o.Owned():
		return false // its owner keeps it, who is told that it is borrowed here
	}
	return !s.makeable(o)
}

// makeable tells whether the task that made o can run again.
func (s *State) makeable(o *Object) bool {
	t := o.task
	return t != nil && (t.State != TaskDone || t.kept && t.Retries != 0)
}

func (s *State) unlineage(r spec.Ref) {
	o := s.objects[r.ID]
	if o == nil || o.lineage == 0 {
		return
	}
	o.lineage--
	s.settle(o)
}
