package owner

import (
	"cmp"
	"slices"

	"ray/internal/spec"
)

// Actor is what this node knows of an actor: as its owner, or because a local
// client calls it.
type Actor struct {
	ID          spec.ActorID
	State       string // "" until the head has told it
	Node        spec.NodeID
	Incarnation int
	Info        spec.ActorInfo
	Creation    *Task // owned here

	watched  bool
	told     bool // EffUnreferenced was emitted
	place    *placement
	queues   map[Client]*callQueue
	inflight map[*Task]struct{}
}

type placement struct {
	node        spec.NodeID
	incarnation int
}

// callQueue holds the calls of one client that have not been sent, in order.
type callQueue struct{ tasks []*Task }

func (a *Actor) detached() bool {
	return a.Creation != nil && a.Creation.Tmpl.Actor != nil && a.Creation.Tmpl.Actor.Detached
}

func (a *Actor) outOfOrder() bool {
	if a.Creation != nil && a.Creation.Tmpl.Actor != nil {
		return a.Creation.Tmpl.Actor.OutOfOrder
	}
	return a.Info.Options.OutOfOrder
}

// Actor finds what is known of an actor, or nil.
func (s *State) Actor(id spec.ActorID) *Actor { return s.actors[id] }

// Actors calls f for each actor.
func (s *State) Actors(f func(*Actor)) {
	for _, a := range s.actors {
		f(a)
	}
}

func (s *State) actor(id spec.ActorID) *Actor {
	a := s.actors[id]
	if a == nil {
		a = &Actor{ID: id, queues: map[Client]*callQueue{}, inflight: map[*Task]struct{}{}}
		s.actors[id] = a
	}
	return a
}

// Watched notes that the daemon watches the actor itself.
func (s *State) Watched(id spec.ActorID) { s.actor(id).watched = true }

func (s *State) watch(a *Actor) {
	if !a.watched {
		a.watched = true
		s.emit(Effect{Kind: EffWatch, Actor: a})
	}
}

func (s *State) submitCreate(t *Task) {
	a := s.actor(t.ID.ActorID())
	a.Creation, t.actor = t, a
	s.emit(Effect{Kind: EffCreate, Task: t, Actor: a})
	s.resolve(t)
}

// Place is the head's word where to start an incarnation of an actor whose
// creation is owned here.
func (s *State) Place(id spec.ActorID, node spec.NodeID, incarnation int) bool {
	a := s.actors[id]
	if a == nil || a.Creation == nil {
		return false
	}
	t := a.Creation
	a.place = &placement{node, incarnation}
	if t.State == TaskDone || t.State == TaskSent { // a restart
		t.Attempt++
		s.pinArgs(t)
		s.resolve(t)
		return true
	}
	if t.State == TaskReady {
		s.startActor(t)
	}
	return true
}

// startActor sends the creation once both its arguments and a place are there.
func (s *State) startActor(t *Task) {
	t.State = TaskReady
	a := t.actor
	if a.place == nil {
		return
	}
	p := a.place
	a.place = nil
	t.State, t.Node = TaskSent, p.node
	s.emit(Effect{Kind: EffStart, Task: t, Actor: a, Node: p.node, Index: uint32(p.incarnation)})
}

// created takes the end of the constructor.
func (s *State) created(t *Task, status uint8, results []Result) {
	a := t.actor
	if status == StatusOK || status == StatusLastCall || status == StatusExit {
		a.told = false
	}
	t.State = TaskDone
	for i := range results {
		s.fill(t, 1, results[i].Value)
	}
	o := s.objects[t.ID.Return(1)]
	if o != nil && !o.Known() {
		s.setValue(o, Value{Where: Inline, Blob: []byte{5, 1, 0, 0, 0, 0, 0, 0}})
	}
	if t.Client != 0 {
		s.emit(Effect{Kind: EffPush, Client: t.Client, Task: t})
	}
	if o := s.objects[t.ID.Return(1)]; o != nil {
		s.settle(o)
	}
	if t.Tmpl.Actor == nil || t.Tmpl.Actor.MaxRestarts == 0 {
		s.unpinArgs(t)
	}
}

// createFailed: the constructor cannot run (its argument failed, or nothing
// can place it). The head's word that the actor is dead follows.
func (s *State) createFailed(t *Task, v Value) {
	if t.State == TaskDone {
		return
	}
	s.created(t, StatusError, []Result{{Index: 1, Value: v}})
	s.emit(Effect{Kind: EffCreateFailed, Task: t, Actor: t.actor})
}

// submitCall queues a call. Calls of one client keep their order unless the
// actor runs calls out of order.
func (s *State) submitCall(t *Task) {
	a := s.actor(t.ID.ActorID())
	t.actor, t.caller = a, t.Client
	s.callSeq++
	t.seq = s.callSeq
	if o := s.objects[spec.ActorCreationTaskID(a.ID).Return(1)]; o != nil {
		o.pins++
	}
	s.watch(a)
	s.enqueue(a, t)
}

func (s *State) enqueue(a *Actor, t *Task) {
	if e := a.refusal(t); e != nil {
		s.FailTask(t, e)
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

// refusal is the error for a call that cannot be made now, or nil.
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
	if t.actor.State == spec.ActorAlive {
		s.flush(t.actor, t.caller)
	}
}

func (s *State) flush(a *Actor, c Client) {
	q := a.queues[c]
	if q == nil || a.State != spec.ActorAlive {
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

// ActorUpdate is the head's row of an actor.
func (s *State) ActorUpdate(info spec.ActorInfo) {
	a := s.actor(info.ID)
	if info.Incarnation < a.Incarnation {
		return
	}
	newLife := info.Incarnation > a.Incarnation
	a.Info, a.State, a.Incarnation = info, info.State, info.Incarnation
	if info.State == spec.ActorAlive {
		a.Node = info.NodeID
	}
	switch info.State {
	case spec.ActorAlive:
		if newLife {
			s.recall(a)
		}
		for c := range a.queues {
			s.flush(a, c)
		}
	case spec.ActorRestarting:
		s.recall(a)
		for _, t := range a.unsent() {
			if e := a.refusal(t); e != nil {
				s.FailTask(t, e)
			}
		}
	case spec.ActorDead:
		s.actorDied(a)
	}
}

// ActorStarted is quicker news than the head's, from a node of this owner: the
// constructor has returned there.
func (s *State) ActorStarted(id spec.ActorID, node spec.NodeID, incarnation int) {
	a := s.actors[id]
	if a == nil || a.State == spec.ActorDead || incarnation < a.Incarnation || (incarnation == a.Incarnation && a.State == spec.ActorAlive) {
		return
	}
	info := a.Info
	if a.Creation != nil && a.Creation.Tmpl.Actor != nil {
		info.Options = *a.Creation.Tmpl.Actor
	}
	info.ID, info.State, info.NodeID, info.Incarnation = id, spec.ActorAlive, node, incarnation
	s.ActorUpdate(info)
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
			s.FailTask(t, a.unavailable("The actor "+a.ID.String()+" is unavailable: its process ended before it answered "+t.Tmpl.Name+
				". The call may have run. Set max_task_retries to have such calls sent again."))
		}
	}
}

func (s *State) actorDied(a *Actor) {
	for _, t := range append(a.sent(), a.unsent()...) {
		s.FailTask(t, a.death())
	}
	t := a.Creation
	if t == nil {
		return
	}
	if t.State != TaskDone {
		s.created(t, StatusError, []Result{{Index: 1, Value: Value{Where: Inline, Err: true, Blob: ErrorBlob(a.death())}}})
	}
	s.unpinArgs(t)
	delete(s.tasks, t.ID)
	a.told = true
}

func (a *Actor) death() *spec.ErrorInfo {
	if a.Info.Death != nil {
		e := *a.Info.Death
		if e.Type == "" || e.Type == "RayActorError" {
			e.Type = "ActorDiedError"
		}
		f := map[string]any{"actor_id": a.ID.String(), "class_name": a.Info.Options.ClassName}
		for k, v := range e.Fields {
			f[k] = v
		}
		e.Fields = f
		return &e
	}
	return &spec.ErrorInfo{Type: "ActorDiedError", Message: "The actor " + a.ID.String() + " is dead.",
		Fields: map[string]any{"actor_id": a.ID.String(), "class_name": a.Info.Options.ClassName}}
}

func (a *Actor) unavailable(text string) *spec.ErrorInfo {
	return &spec.ErrorInfo{Type: "ActorUnavailableError", Message: text, Fields: map[string]any{"actor_id": a.ID.String()}}
}

// Pending counts the calls of a client to an actor that are not answered.
func (a *Actor) Pending() int {
	n := len(a.inflight)
	for _, q := range a.queues {
		n += len(q.tasks)
	}
	return n
}
