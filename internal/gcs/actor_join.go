package gcs

import (
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
)

// RejoinActors reconciles the table with what a node says that it runs and
// owns. Nothing that still runs is started again; what does not run any more
// is treated as ended; orders that were lost on the way are given again.
func (t *Tables) RejoinActors(node spec.NodeID, owned []wire.ActorCreate, living []wire.ActorStarted, now int64) (c Change) {
	alive := map[spec.ActorID]wire.ActorStarted{}
	for _, s := range living {
		alive[s.ActorID] = s
		t.claims[s.ActorID] = claim{node, s}
	}
	for _, o := range owned {
		if t.actors[o.Info.ID] == nil || t.actors[o.Info.ID].Info.State == spec.ActorDependenciesUnready {
			t.adopt(&c, o, now)
		}
	}
	for _, a := range t.livingActors() {
		s, claimed := t.claims[a.Info.ID]
		switch {
		case claimed && s.node == node:
			t.settle(&c, a, s, now)
		case told(alive, a.Info.ID): // adopted above
		case a.placed() && a.Info.NodeID == node && a.Info.State == spec.ActorAlive:
			t.restartOrBury(&c, a, diedError(a, "The actor's process ended while the head was away."), false, now)
		case a.placed() && a.Info.State != spec.ActorAlive && (a.Info.Owner == node && !a.OwnerGone || a.Info.NodeID == node && a.OwnerGone):
			c.effect(t.startEffect(a))
		}
	}
	t.dropClaims(&c, node, alive, owned)
	return c
}

func told(alive map[spec.ActorID]wire.ActorStarted, id spec.ActorID) bool {
	_, ok := alive[id]
	return ok
}

// adopt takes in an actor that the store had lost: its owner tells what it is.
func (t *Tables) adopt(c *Change, o wire.ActorCreate, now int64) {
	incarnation, restarts, node := o.Info.Incarnation, o.Info.Restarts, o.Info.NodeID
	state := o.Info.State
	made, err := t.CreateActor(o, now)
	c.Merge(made)
	if err != nil {
		return // another actor has the name: this one stays unknown, and its node is told to end it
	}
	a := t.edit(o.Info.ID)
	a.Info.Incarnation, a.Info.Restarts = incarnation, restarts
	if s, ok := t.claims[o.Info.ID]; ok {
		a.Info.Incarnation = max(a.Info.Incarnation, s.started.Incarnation)
		t.settle(c, a, s, now)
		return
	}
	// Where it was placed is believed until that node registers or is dead.
	if n := t.nodes[node]; n != nil && n.State != spec.NodeDead {
		a.Info.NodeID = node
		if state == spec.ActorAlive || state == spec.ActorRestarting {
			a.Info.State = state
		}
	}
	t.putActor(c, a)
}

// settle makes a claimed incarnation the current one, or has it ended.
func (t *Tables) settle(c *Change, a *Actor, s claim, now int64) {
	delete(t.claims, a.Info.ID)
	current := s.started.Incarnation == a.Info.Incarnation && (a.Info.NodeID == s.node || a.waiting())
	newer := s.started.Incarnation > a.Info.Incarnation // the placement had not been stored
	if !current && !newer {
		c.effect(KillActor{s.node, wire.ActorKill{ActorID: a.Info.ID, Incarnation: s.started.Incarnation, NoRestart: true, Reason: "this incarnation of the actor is not the current one"}})
		return
	}
	if newer && a.Info.State != spec.ActorPending {
		a.Info.Restarts += s.started.Incarnation - a.Info.Incarnation
	}
	a.Info.Incarnation, a.Info.NodeID, a.Info.State = s.started.Incarnation, s.node, spec.ActorAlive
	a.Info.WorkerID, a.Info.PID, a.Info.ReprName = s.started.WorkerID, s.started.PID, s.started.ReprName
	if a.StartMS == 0 {
		a.StartMS = now
	}
	t.putActor(c, a)
}

// dropClaims ends claimed processes of actors that are dead. Claims of unknown
// actors wait for their owner.
func (t *Tables) dropClaims(c *Change, node spec.NodeID, alive map[spec.ActorID]wire.ActorStarted, owned []wire.ActorCreate) {
	for id := range alive {
		a := t.actors[id]
		mine := slices.ContainsFunc(owned, func(o wire.ActorCreate) bool { return o.Info.ID == id })
		if a != nil && a.Info.State != spec.ActorDead || a == nil && !mine {
			continue
		}
		delete(t.claims, id)
		c.effect(KillActor{node, wire.ActorKill{ActorID: id, NoRestart: true, Reason: "the actor is dead"}})
	}
}

// ExpireClaims ends processes whose owner did not come back in time.
func (t *Tables) ExpireClaims() (c Change) {
	for id, s := range t.claims {
		delete(t.claims, id)
		c.effect(KillActor{s.node, wire.ActorKill{ActorID: id, NoRestart: true, Reason: "the owner of the actor did not come back"}})
	}
	return c
}
