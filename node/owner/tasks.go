package owner

import (
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
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
	v := Value{Where: Inline, Err: true, Blob: wire.ErrorBlob(ArgumentError(t.Tmpl.Name, o))}
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
	o := s.objects[id]
	fresh := o == nil
	t.yielded = max(t.yielded, index-1)
	if fresh && !s.wantsItem(t, index) {
		s.discard(id, v)
		return
	}
	t.Items = max(t.Items, index-1)
	if fresh {
		o = &Object{ID: id}
		s.objects[id] = o
	}
	switch {
	case t.Tmpl.Dynamic:
		s.holdItem(t, o)
	case fresh:
		s.deliver(o, t.Client, 1)
	}
	if o.Known() {
		s.discard(id, v)
		return
	}
	s.keepItem(t, o, v)
	s.setValue(o, v)
	if fresh && t.Client != 0 && t.Tmpl.Streaming {
		s.emit(Effect{Kind: EffItem, Client: t.Client, Task: t, Object: o, ID: id, Index: index})
	}
	s.settle(o)
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
		results = []Result{{Value: Value{Where: Inline, Err: true, Blob: wire.ErrorBlob(cancelled(t))}}}
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
	t.yielded = 0
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

// Cancel ends a task that is owned here. One that runs is told (EffStop) and
// ends by its own DONE, or with its worker's death if force.
func (s *State) Cancel(t *Task, force bool) {
	if t.State == TaskDone {
		return
	}
	t.Cancelled = true
	switch {
	case t.State == TaskWaiting, t.Kind == KindCall && t.State == TaskReady: // not sent
		if t.actor != nil {
			t.actor.remove(t)
		}
		s.FailAlone(t, cancelled(t))
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

// JobFinished ends all tasks of a job that are owned here, but for those that
// descend from its detached actors and the calls of these.
func (s *State) JobFinished(job spec.JobID, detached func(spec.ActorID) bool) {
	var mine []*Task
	for _, t := range s.tasks {
		if t.State != TaskDone && t.ID.JobID() == job && t.Tmpl.Root.IsZero() && !(t.ID.IsActorTask() && detached(t.ID.ActorID())) {
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
