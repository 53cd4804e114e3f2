package owner

import (
	"slices"

	"ray/internal/spec"
)

// Submit takes a task of a local client: its returns exist from now on, each
// with one delivery to the client.
func (s *State) Submit(t *Task, c Client) {
	t.Client = c
	t.Retries = t.Tmpl.MaxRetries
	s.tasks[t.ID] = t
	for i := range t.NReturns {
		id := t.ID.Return(uint32(i + 1))
		o := s.objects[id]
		if o == nil {
			o = &Object{ID: id}
			s.objects[id] = o
		}
		o.task = t
		s.deliver(o, c, 1)
	}
	s.pinArgs(t)
	switch t.Kind {
	case KindCreate:
		s.submitCreate(t)
	case KindCall:
		s.submitCall(t)
	default:
		s.resolve(t)
	}
}

func (s *State) pinArgs(t *Task) {
	if t.pinned {
		return
	}
	t.pinned = true
	for _, r := range t.Deps {
		s.pin(r)
	}
	for _, r := range t.Refs {
		s.pin(r)
	}
}

func (s *State) unpinArgs(t *Task) {
	if !t.pinned {
		return
	}
	t.pinned = false
	for _, r := range t.Deps {
		s.unpin(r)
	}
	for _, r := range t.Refs {
		s.unpin(r)
	}
}

// resolve waits for the dependencies of t, then goes on with it. A dependency
// that is an error ends the task with that error.
func (s *State) resolve(t *Task) {
	t.State = TaskWaiting
	t.missing = 1
	for i, r := range t.Deps {
		if slices.Contains(t.Deps[:i], r) {
			continue
		}
		o := s.ref(r)
		if o.Known() {
			if o.Err {
				s.failDep(t, o)
				return
			}
			continue
		}
		t.missing++
		s.wait(o, waiter{kind: waitTask, task: t})
		if t.State == TaskDone {
			return
		}
	}
	if t.missing--; t.missing == 0 {
		s.resolved(t)
	}
}

func (s *State) depReady(t *Task, o *Object) {
	if t.State != TaskWaiting || t.missing == 0 {
		return
	}
	if o.Err {
		s.failDep(t, o)
		return
	}
	if t.missing--; t.missing == 0 {
		s.resolved(t)
	}
}

func (s *State) failDep(t *Task, o *Object) {
	v := Value{Where: o.Where, Err: true, Blob: o.Blob, Off: o.Off, Size: o.Size}
	if o.Where != Inline {
		v = Value{Where: Inline, Err: true, Blob: ErrorBlob(&spec.ErrorInfo{Type: "RaySystemError",
			Message: "an argument of " + t.Tmpl.Name + " failed, and its error is too large to pass on (object " + o.ID.String() + ")"})}
	}
	t.missing = 0
	if t.Kind == KindCreate {
		s.createFailed(t, v)
		return
	}
	s.finish(t, []Result{{Value: v}}, t.Items)
}

func (s *State) resolved(t *Task) {
	switch t.Kind {
	case KindCreate:
		s.startActor(t)
	case KindCall:
		s.callReady(t)
	default:
		t.State = TaskReady
		s.emit(Effect{Kind: EffRun, Task: t})
	}
}

// Yield takes item index (as a return index, from 2) of a stream.
func (s *State) Yield(t *Task, attempt int, index uint32, v Value) {
	if t.State == TaskDone || attempt != t.Attempt {
		s.discard(t.ID.Return(index), v)
		return
	}
	id := t.ID.Return(index)
	t.Items = max(t.Items, index-1)
	o := s.objects[id]
	fresh := o == nil
	if fresh {
		o = &Object{ID: id}
		s.objects[id] = o
		s.deliver(o, t.Client, 1)
	}
	if o.Known() {
		s.discard(id, v)
		return
	}
	s.setValue(o, v)
	if fresh && t.Client != 0 {
		s.emit(Effect{Kind: EffItem, Client: t.Client, Task: t, Object: o, ID: id, Index: index})
	}
	s.settle(o)
}

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

// Done takes the end of an attempt. Results of any but the current attempt
// are discarded.
func (s *State) Done(t *Task, attempt int, status uint8, results []Result, items uint32) {
	if t.State == TaskDone || attempt != t.Attempt {
		for _, r := range results {
			s.discard(t.ID.Return(r.Index), r.Value)
		}
		return
	}
	if status == StatusRetry && s.again(t) {
		return
	}
	if status == StatusCancelled && len(results) == 0 {
		results = []Result{{Value: Value{Where: Inline, Err: true, Blob: ErrorBlob(cancelled(t))}}}
	}
	switch {
	case t.Kind == KindCreate:
		s.created(t, status, results)
	case status == StatusExit && len(results) == 0:
		// the actor's end answers it
	default:
		s.finish(t, results, items)
	}
}

// again starts a further attempt if the task may be retried.
func (s *State) again(t *Task) bool {
	if t.Cancelled || t.Retries == 0 {
		return false
	}
	if t.Retries > 0 {
		t.Retries--
	}
	s.restart(t)
	return true
}

func (s *State) restart(t *Task) {
	t.Attempt++
	t.Node = spec.NodeID{}
	s.leaveActor(t)
	if t.Kind == KindCall {
		s.requeueCall(t)
		return
	}
	s.resolve(t)
}

// Failed takes the end of an attempt by something else than the user's code:
// its worker or node died. charge: the attempt had begun, so it counts.
func (s *State) Failed(t *Task, attempt int, e *spec.ErrorInfo, charge bool) {
	if t.State == TaskDone || attempt != t.Attempt || t.Kind == KindCreate {
		return // the head decides whether an actor starts again
	}
	if t.Cancelled {
		s.FailTask(t, cancelledOr(t, e))
		return
	}
	if !charge {
		s.restart(t)
		return
	}
	if s.again(t) {
		return
	}
	s.FailTask(t, e)
}

// cancelledOr: force-cancelled tasks end in the worker's crash, as upstream's do.
func cancelledOr(t *Task, e *spec.ErrorInfo) *spec.ErrorInfo {
	if e != nil && e.Type == "WorkerCrashedError" {
		return e
	}
	return cancelled(t)
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
	v := Value{Where: Inline, Err: true, Blob: ErrorBlob(e)}
	if t.Kind == KindCreate {
		s.createFailed(t, v)
		return
	}
	if t.Tmpl.Streaming {
		// the next item holds the error, then the stream ends
		s.Yield(t, t.Attempt, t.Items+2, v)
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
	large := false
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
	keep := large && t.Kind == KindTask && t.Tmpl.MaxRetries != 0 && !t.Cancelled
	if keep && !t.kept {
		t.kept, t.live = true, 0
		for n := range t.NReturns {
			if o := s.objects[t.ID.Return(uint32(n+1))]; o != nil {
				t.live++
				o.task = t
			}
		}
		for _, r := range t.Deps {
			s.ref(r).lineage++
		}
		for _, r := range t.Refs {
			s.ref(r).lineage++
		}
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
	s.unpinArgs(t)
}

// remake runs the creator of a lost object again.
func (s *State) remake(o *Object) {
	t := o.task
	switch {
	case t != nil && t.State != TaskDone:
		o.Where = Pending
		return
	case t == nil || !t.kept:
		s.fail(o, lostError(o, "no task can make it again: it came from put, from an actor, or its task has max_retries=0"))
		return
	case t.Retries == 0 && t.Tmpl.MaxRetries >= 0:
		s.fail(o, lostError(o, "its task has no retries left"))
		return
	}
	if t.Retries > 0 {
		t.Retries--
	}
	for n := range t.NReturns {
		r := s.objects[t.ID.Return(uint32(n+1))]
		if r != nil && r.Where == Lost {
			r.Where = Pending
		}
	}
	o.Where = Pending
	s.pinArgs(t)
	for _, r := range t.Deps {
		if d := s.ref(r); d.Where == Lost {
			s.remake(d)
		}
	}
	t.Attempt++
	t.Node = spec.NodeID{}
	s.resolve(t)
}

func lostError(o *Object, why string) *spec.ErrorInfo {
	return &spec.ErrorInfo{Type: "ObjectReconstructionFailedError",
		Message: "all copies of object " + o.ID.String() + " are lost, and " + why,
		Fields:  map[string]any{"object_id": o.ID.String(), "reason": why}}
}

// Cancel ends a task that is owned here. One that runs is told (EffStop) and
// ends by its own DONE, or with its worker's death if force.
func (s *State) Cancel(t *Task, force bool) {
	if t.State == TaskDone {
		return
	}
	t.Cancelled = true
	switch {
	case t.State == TaskWaiting:
		if t.actor != nil {
			t.actor.remove(t)
		}
		s.FailTask(t, cancelled(t))
	default:
		s.emit(Effect{Kind: EffStop, Task: t, Force: force})
	}
}

// Withdrawn answers EffStop: the task had not begun and never will.
func (s *State) Withdrawn(t *Task) { s.FailTask(t, cancelled(t)) }

// Children are the unfinished tasks owned here that task parent submitted.
func (s *State) Children(parent spec.TaskID) (out []*Task) {
	for _, t := range s.tasks {
		if t.Parent == parent && t.State != TaskDone {
			out = append(out, t)
		}
	}
	return out
}

// JobFinished ends all tasks of a job that are owned here and returns those
// that may still run somewhere.
func (s *State) JobFinished(job spec.JobID, detached func(spec.ActorID) bool) {
	var mine []*Task
	for _, t := range s.tasks {
		if t.State != TaskDone && t.ID.JobID() == job && !(t.ID.IsActorTask() && detached(t.ID.ActorID())) {
			mine = append(mine, t)
		}
	}
	for _, t := range mine {
		t.Client = 0
		s.Cancel(t, true)
	}
}

// Consumed records what a stream's consumer has taken in.
func (s *State) Consumed(t *Task, n uint32) { t.Consumed = max(t.Consumed, n) }
