package owner

import (
	"cmp"
	"slices"

	"ray/internal/spec"
)

// callQueue holds the calls of one client that have not been sent, in order.
type callQueue struct{ tasks []*Task }

// submitCall queues a call. Calls of one client keep their order unless the
// actor runs calls out of order.
func (s *State) submitCall(t *Task) {
	t.caller = t.Client
	s.callSeq++
	t.seq = s.callSeq
	s.callAgain(t)
}

// callAgain queues a call that is not among those of its actor: a new one, or
// one that was answered long ago and whose answer is lost.
func (s *State) callAgain(t *Task) {
	a := s.actor(t.ID.ActorID())
	t.actor = a
	if o := s.objects[spec.ActorCreationTaskID(a.ID).Return(1)]; o != nil {
		o.pins++
	}
	s.watch(a)
	s.enqueue(a, t)
}

func (s *State) enqueue(a *Actor, t *Task) {
	if e := a.refusal(t); e != nil {
		s.FailAlone(t, e)
		return
	}
	q := a.queues[t.caller]
	if q == nil {
		q = &callQueue{}
		a.queues[t.caller] = q
	}
	i := len(q.tasks)
	for i > 0 && q.tasks[i-1].seq > t.seq {
		i--
	}
	q.tasks = slices.Insert(q.tasks, i, t)
	s.resolve(t)
}

// refusal is the error for a call that is made, or becomes ready, now and
// cannot be sent: nil if it can be or may wait. Calls that were made before
// the actor began to restart wait, be it for its very first life.
func (a *Actor) refusal(t *Task) *spec.ErrorInfo {
	switch {
	case a.State == spec.ActorDead:
		return a.death()
	case a.State == spec.ActorRestarting && t.Tmpl.MaxRetries == 0:
		return a.unavailable("The actor " + a.ID.String() + " is unavailable: The actor is restarting.")
	}
	return nil
}

// callReady: the call's arguments are there; send what may be sent.
func (s *State) callReady(t *Task) {
	t.State = TaskReady
	if e := t.actor.refusal(t); e != nil {
		s.FailAlone(t, e)
		return
	}
	s.flush(t.actor, t.caller)
}

func (s *State) flush(a *Actor, c Client) {
	q := a.queues[c]
	if q == nil || a.State != spec.ActorAlive || s.dead[a.Node] { // what became of it is on its way here
		return
	}
	if a.outOfOrder() {
		kept := q.tasks[:0]
		for _, t := range q.tasks {
			if t.State == TaskReady {
				s.send(a, t)
			} else {
				kept = append(kept, t)
			}
		}
		clear(q.tasks[len(kept):])
		q.tasks = kept
		return
	}
	n := 0
	for n < len(q.tasks) && q.tasks[n].State == TaskReady {
		s.send(a, q.tasks[n])
		n++
	}
	if n > 0 {
		rest := copy(q.tasks, q.tasks[n:])
		clear(q.tasks[rest:])
		q.tasks = q.tasks[:rest]
	}
}

func (s *State) send(a *Actor, t *Task) {
	t.State, t.Node = TaskSent, a.Node
	a.inflight[t] = struct{}{}
	s.emit(Effect{Kind: EffCall, Task: t, Actor: a, Node: a.Node, Index: uint32(a.Incarnation)})
}

// remove takes an unsent call out of its queue.
func (a *Actor) remove(t *Task) {
	if q := a.queues[t.caller]; q != nil {
		q.tasks = slices.DeleteFunc(q.tasks, func(x *Task) bool { return x == t })
		if len(q.tasks) == 0 && t.Client == 0 {
			delete(a.queues, t.caller)
		}
	}
}

func (s *State) leaveActor(t *Task) {
	if t.Kind != KindCall || t.actor == nil {
		return
	}
	a := t.actor
	if _, sent := a.inflight[t]; sent {
		delete(a.inflight, t)
	} else {
		a.remove(t)
		if t.State == TaskDone {
			defer s.flush(a, t.caller)
		}
	}
	if t.State == TaskDone {
		t.actor = nil
		if o := s.objects[spec.ActorCreationTaskID(a.ID).Return(1)]; o != nil && o.pins > 0 {
			o.pins--
			s.settle(o)
		}
	}
}

func (s *State) requeueCall(t *Task) {
	t.State = TaskWaiting
	s.enqueue(t.actor, t)
}

func (a *Actor) unsent() (out []*Task) {
	for _, q := range a.queues {
		out = append(out, q.tasks...)
	}
	return out
}

func (a *Actor) sent() []*Task {
	out := make([]*Task, 0, len(a.inflight))
	for t := range a.inflight {
		out = append(out, t)
	}
	slices.SortFunc(out, func(x, y *Task) int { return cmp.Compare(x.seq, y.seq) })
	return out
}

// recall deals with calls that an ended incarnation will not answer.
func (s *State) recall(a *Actor) {
	for _, t := range a.sent() {
		if !s.again(t) {
			s.FailAlone(t, a.unavailable("The actor "+a.ID.String()+" is unavailable: its process ended before it answered "+t.Tmpl.Name+
				". The call may have run. Set max_task_retries to have such calls sent again."))
		}
	}
}

// Pending counts the calls of a client to an actor that are not answered.
func (a *Actor) Pending() int {
	n := len(a.inflight)
	for _, q := range a.queues {
		n += len(q.tasks)
	}
	return n
}
