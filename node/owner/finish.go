package owner

import (
	"math"
	"slices"
	"strconv"

	"ray/internal/spec"
)

// discard frees the copy of a result that nobody takes.
func (s *State) discard(id spec.ObjectID, v Value) {
	switch v.Where {
	case Arena:
		if o := s.objects[id]; o == nil || o.Where != Arena {
			s.emit(Effect{Kind: EffFree, ID: id})
		}
	case Remote:
		o := s.objects[id]
		for _, n := range v.Nodes {
			if o == nil || !slices.Contains(o.Locs, n) {
				s.emit(Effect{Kind: EffFreeRemote, Node: n, ID: id})
			}
		}
	}
}

// cancelledOr: a task whose worker was ended with force has been cancelled and has lost its worker, both.
func cancelledOr(t *Task, e *spec.ErrorInfo) *spec.ErrorInfo {
	out := cancelled(t)
	if e != nil && e.Type == "WorkerCrashedError" {
		out.Message, out.Fields["crashed"] = e.Message, true
	}
	return out
}

// FailAlone ends a task as FailTask does, when no node has an end of the attempt to tell of: it never ran, or where it
// ran there is no word of it any more.
func (s *State) FailAlone(t *Task, e *spec.ErrorInfo) {
	if t.State != TaskDone && t.Kind != KindCreate { // of that createFailed tells
		s.emit(Effect{Kind: EffFailed, Task: t, Token: e})
	}
	s.FailTask(t, e)
}

// FailTask ends a task with an error, without a retry.
func (s *State) FailTask(t *Task, e *spec.ErrorInfo) {
	if t.State == TaskDone {
		return
	}
	if e.Fields == nil {
		e.Fields = map[string]any{}
	}
	e.Fields["task_name"] = t.Tmpl.Name
	v := errorValue(e)
	if t.Kind == KindCreate {
		s.createFailed(t, v)
		return
	}
	s.finish(t, []Result{{Value: v}}, t.Items)
}

func cancelled(t *Task) *spec.ErrorInfo {
	return &spec.ErrorInfo{Type: "TaskCancelledError", Message: "task " + t.Tmpl.Name + " was cancelled",
		Fields: map[string]any{"task_id": t.ID.String()}}
}

// finish fills the returns, tells the submitter and lets the arguments go.
func (s *State) finish(t *Task, results []Result, items uint32) {
	t.State = TaskDone
	t.Items = max(t.Items, items)
	s.leaveActor(t)
	t.Run = nil
	if t.Client != 0 {
		s.emit(Effect{Kind: EffPush, Client: t.Client, Task: t})
	}
	large := t.large > 0
	if t.Tmpl.Yields() {
		s.endItems(t, results)
	}
	for i := range results {
		r := &results[i]
		large = large || r.Value.Where != Inline
		if r.Index == 0 {
			for n := range t.NReturns {
				s.fill(t, uint32(n+1), r.Value)
			}
			continue
		}
		s.fill(t, r.Index, r.Value)
	}
	s.missingReturns(t)
	if t.Tmpl.Dynamic {
		s.letGoOfItems(t)
	}
	s.over(t, large)
}

// missingReturns fails the returns that an executor left out.
func (s *State) missingReturns(t *Task) {
	for n := range t.NReturns {
		if o := s.objects[t.ID.Return(uint32(n+1))]; o != nil && o.task == t && !o.Known() && o.Where != Lost {
			s.fail(o, &spec.ErrorInfo{Type: "RaySystemError", Message: "task " + t.Tmpl.Name + " ended without a value for return " + spec.Fixed((n+1)*spec.FixedScale).String()})
		}
	}
}

func (s *State) fill(t *Task, index uint32, v Value) {
	o := s.objects[t.ID.Return(index)]
	if o == nil {
		s.discard(t.ID.Return(index), v)
		return
	}
	if o.Known() {
		s.discard(o.ID, v)
		return
	}
	s.setValue(o, v)
}

// over decides whether a finished task is kept as lineage, and forgets it if not.
func (s *State) over(t *Task, large bool) {
	keep := large && t.Kind != KindCreate && t.Tmpl.MaxRetries != 0 && !t.Cancelled
	if keep && !t.kept {
		s.keep(t)
	}
	if !t.kept {
		delete(s.tasks, t.ID)
	}
	for n := range t.NReturns {
		o := s.objects[t.ID.Return(uint32(n+1))]
		if o == nil {
			continue
		}
		if !t.kept && t.Kind != KindCreate {
			o.task = nil
		}
		s.settle(o)
	}
	if t.kept && t.live <= 0 {
		s.dropLineage(t)
	}
	s.unpinArgs(t)
	if t.again {
		s.makeItemsAgain(t)
	}
	s.boundLineage()
}

// remake runs the creator of a lost object again.
func (s *State) remake(o *Object) {
	t := o.task
	switch {
	case t != nil && t.State != TaskDone:
		o.Where = Pending
		t.again = t.again || isItem(t, o) && o.ID.Index()-1 <= t.yielded
		return
	case s.NoRemake:
		s.fail(o, s.lostError(o, "ObjectLostError", "objects are not made again here: object reconstruction is switched off"))
		return
	case o.evicted:
		s.fail(o, s.lostError(o, "ObjectReconstructionFailedError", s.evictedText()))
		return
	case t == nil || !t.kept:
		s.fail(o, s.lostError(o, "ObjectReconstructionFailedError", unmakeable(o)))
		return
	case t.Retries == 0 && t.Tmpl.MaxRetries >= 0:
		s.fail(o, s.lostError(o, "ObjectReconstructionFailedError", "the maximum number of task retries has been exceeded: task "+t.Tmpl.Name+", which made it, had "+strconv.Itoa(t.Tmpl.MaxRetries)))
		return
	}
	if t.Retries > 0 {
		t.Retries--
	}
	t.Consumed = math.MaxUint32 // nobody reads the stream any more
	for n := range t.NReturns {
		r := s.objects[t.ID.Return(uint32(n+1))]
		if r != nil && r.Where == Lost {
			r.Where = Pending
		}
	}
	o.Where = Pending
	s.pinArgs(t)
	for _, r := range t.Deps {
		d := s.ref(r)
		if d.freed && s.makeable(d) { // what a user has freed is made again for this, not for who asks
			d.freed, d.Err, d.Blob, d.Where = false, false, nil, Lost
		}
		if d.Where == Lost {
			s.remake(d)
		}
	}
	t.Attempt++
	t.yielded = 0
	t.Node = spec.NodeID{}
	if t.Kind == KindCall {
		s.callAgain(t)
		return
	}
	s.resolve(t)
}
