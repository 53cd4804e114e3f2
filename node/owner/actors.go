package owner

import (
	"ray/internal/spec"
	"ray/internal/wire"
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
	room        bool
}

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
// creation is owned here; room: at once or not at all.
func (s *State) Place(id spec.ActorID, node spec.NodeID, incarnation int, room bool) bool {
	a := s.actors[id]
	if a == nil || a.Creation == nil {
		return false
	}
	t := a.Creation
	a.place = &placement{node, incarnation, room}
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
	s.emit(Effect{Kind: EffStart, Task: t, Actor: a, Node: p.node, Index: uint32(p.incarnation), Token: p.room})
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
	if e := wire.ErrorOf(v.Blob); e != nil && t.State != TaskSent {
		s.emit(Effect{Kind: EffFailed, Task: t, Token: e})
	}
	s.created(t, StatusError, []Result{{Index: 1, Value: v}})
	s.emit(Effect{Kind: EffCreateFailed, Task: t, Actor: t.actor, Token: v.Blob})
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
	// Whatever state the next life is in when this node hears of it: one that
	// the head has not known to have begun is placed anew without a restart.
	if newLife && info.State != spec.ActorDead {
		s.recall(a)
	}
	switch info.State {
	case spec.ActorAlive:
		for c := range a.queues {
			s.flush(a, c)
		}
	case spec.ActorRestarting:
		s.recall(a) // what was not sent waits for the next life
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

func (s *State) actorDied(a *Actor) {
	for _, t := range append(a.sent(), a.unsent()...) {
		s.FailAlone(t, a.death())
	}
	t := a.Creation
	if t == nil {
		return
	}
	if t.State != TaskDone {
		if t.State != TaskSent { // it never reached a node
			s.emit(Effect{Kind: EffFailed, Task: t, Token: a.death()})
		}
		s.created(t, StatusError, []Result{{Index: 1, Value: Value{Where: Inline, Err: true, Blob: wire.ErrorBlob(a.death())}}})
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
