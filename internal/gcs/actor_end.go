package gcs

import (
	"fmt"

	"ray/internal/spec"
	"ray/internal/wire"
)

// ActorEnded records the end of an incarnation: it is started again if it may
// be, else the actor is dead.
func (t *Tables) ActorEnded(e wire.ActorEnded, from spec.NodeID, now int64) (c Change) {
	a := t.edit(e.ActorID)
	if a == nil || a.Info.State == spec.ActorDead || a.Info.Incarnation != e.Incarnation || a.Info.NodeID.IsZero() {
		return c
	}
	if from != a.Info.NodeID && from != a.Info.Owner {
		return c
	}
	if e.Refused {
		a.Info.NodeID, a.Info.WorkerID, a.Info.PID = spec.NodeID{}, spec.WorkerID{}, 0
		t.putActor(&c, a)
		c.effect(Replan{})
		return c
	}
	cause := e.Cause
	if cause == nil {
		cause = diedError(a, "The actor's process has ended.")
	}
	if e.Intended || e.InitFailed {
		t.bury(&c, a, cause, now)
		return c
	}
	t.restartOrBury(&c, a, cause, true, now)
	return c
}

// restartOrBury is for an incarnation that ended against its will. begun tells
// that its constructor had: one that ends its process must not be run for ever.
func (t *Tables) restartOrBury(c *Change, a *Actor, cause *spec.ErrorInfo, begun bool, now int64) {
	o := a.Info.Options
	started := begun || a.Info.State != spec.ActorPending // a constructor that never ran is no restart
	preempted, _ := cause.Fields["preempted"].(bool)      // it counts not against max_restarts
	mayStart := !a.OwnerGone || len(a.Create.Stored) > 0
	switch {
	case a.Unreferenced || !mayStart:
	case !started:
		a.Info.NodeID = spec.NodeID{}
		t.putActor(c, a)
		c.effect(Replan{})
		return
	case o.MaxRestarts < 0 || a.Info.Restarts-a.Info.PreemptedTimes < o.MaxRestarts || preempted && o.MaxRestarts > 0:
		a.Info.State = spec.ActorRestarting
		a.Info.Restarts++
		if preempted {
			a.Info.PreemptedTimes++
		}
		a.Info.NodeID, a.Info.WorkerID, a.Info.PID = spec.NodeID{}, spec.WorkerID{}, 0
		t.putActor(c, a)
		c.effect(Replan{})
		return
	}
	t.bury(c, a, cause, now)
}

// bury ends an actor for good and frees its name.
func (t *Tables) bury(c *Change, a *Actor, cause *spec.ErrorInfo, now int64) {
	if row := t.actors[a.Info.ID]; row != nil && row.Info.State == spec.ActorDead {
		return // with the group that another's end has ended
	}
	a.Info.State, a.Info.Death, a.Info.Reason = spec.ActorDead, cause, ""
	a.EndMS = now
	if len(a.Create.Stored) > 0 {
		a.Create.Stored = nil
		c.remove(tableStored, a.Info.ID.String())
	}
	if t.names[a.name()] == a.Info.ID {
		delete(t.names, a.name())
	}
	t.putActor(c, a)
	if a.Info.Options.Detached {
		t.endGroupsThat(c, func(g *Group) bool { return g.Info.Root == a.Info.ID }, now)
	}
	delete(t.watch, a.Info.ID)
	for old, full := t.endedActors.add(a.Info.ID, t.KeptActors); full; old, full = t.endedActors.excess(t.KeptActors) {
		delete(t.actors, old)
		c.remove(tableActors, old.String())
	}
	c.effect(Replan{}) // its resources are free
}

func diedError(a *Actor, why string) *spec.ErrorInfo {
	fields := map[string]any{
		"actor_id": a.Info.ID.String(), "class_name": a.Info.Options.ClassName, "cause": why,
		"namespace": a.Info.Options.Namespace, "name": a.Info.Options.Name,
	}
	if a.Info.PID != 0 {
		fields["pid"] = a.Info.PID
	}
	return &spec.ErrorInfo{Type: "ActorDiedError", Message: "The actor died unexpectedly before finishing this task.\n\tcause: " + why, Fields: fields}
}

// KillActor is ray.kill: with noRestart the actor is dead at once, else its
// process ends and it is started again if it may be.
func (t *Tables) KillActor(id spec.ActorID, noRestart bool, why string, now int64) (c Change, ok bool) {
	a := t.edit(id)
	if a == nil {
		return c, false
	}
	if a.Info.State == spec.ActorDead {
		return c, true
	}
	c.kill(a, wire.ActorKill{NoRestart: noRestart, Reason: why})
	reason := "The actor is dead because " + why + "."
	switch {
	case noRestart:
		t.bury(&c, a, diedError(a, reason), now)
	case !a.placed(): // it has no process yet, and whoever kills it means a restart all the same
		t.restartOrBury(&c, a, diedError(a, reason), true, now)
	}
	return c, true
}

// UnreferenceActor ends an actor whose last handle is gone: at once while it is being started, else after what is queued.
func (t *Tables) UnreferenceActor(id spec.ActorID, now int64) (c Change) {
	a := t.edit(id)
	if a == nil || a.Info.State == spec.ActorDead || a.Info.Options.Detached || a.Unreferenced {
		return c
	}
	a.Unreferenced = true
	c.kill(a, outOfScope)
	if a.Info.State == spec.ActorAlive {
		t.putActor(&c, a)
		return c
	}
	// Its constructor may never return, and nobody waits for it: a call would be a reference.
	t.bury(&c, a, diedError(a, "The actor is dead because all references to the actor were removed."), now)
	return c
}

// endActorsOfJob ends what a job leaves behind; detached actors and those that
// they have made stay, but a detached actor's creation spec is the stored one
// from now on.
func (t *Tables) endActorsOfJob(job spec.JobID, now int64) (c Change) {
	for _, a := range t.livingActors() {
		if a.Info.JobID != job {
			continue
		}
		if !a.Create.Root.IsZero() {
			continue // its owner is the node of the actor that made it
		}
		if a.Info.Options.Detached && a.Info.State != spec.ActorDependenciesUnready {
			if len(a.Create.Stored) > 0 && !a.OwnerGone {
				a.OwnerGone = true
				t.putActor(&c, a)
			}
			continue
		}
		c.kill(a, wire.ActorKill{NoRestart: true, Reason: "the job has ended"})
		t.bury(&c, a, diedError(a, "The actor is dead because its owner has died: the job has ended."), now)
	}
	return c
}

// livingActors are copies of the rows that are not dead.
func (t *Tables) livingActors() []*Actor {
	rows := t.actorsThat(func(a *Actor) bool { return a.Info.State != spec.ActorDead })
	out := make([]*Actor, len(rows))
	for i := range rows {
		out[i] = &rows[i]
	}
	return out
}

func (t *Tables) actorsOfDeadNode(n *spec.Node, reason string, now int64) (c Change) {
	id := n.ID
	for _, a := range t.livingActors() {
		onNode := a.placed() && a.Info.NodeID == id
		if a.Info.Owner == id && !a.OwnerGone {
			if !a.Info.Options.Detached {
				if !onNode {
					c.kill(a, wire.ActorKill{NoRestart: true, Reason: "the node that owned the actor died"})
				}
				t.bury(&c, a, diedError(a, fmt.Sprintf("The actor is dead because its owner has died. Owner node: %s (%s).", id, reason)), now)
				continue
			}
			a.OwnerGone = true
			if !onNode {
				t.putActor(&c, a)
				if a.Info.State != spec.ActorAlive && a.placed() { // the owner may not have passed the order on
					c.effect(t.startEffect(a))
				}
				continue
			}
		}
		if onNode {
			cause := diedError(a, fmt.Sprintf("The actor died because its node has died. Node Id: %s (%s).", id, reason))
			if n.Preempted() {
				cause.Fields["preempted"] = true
			}
			t.restartOrBury(&c, a, cause, false, now)
		}
	}
	return c
}

// FailActor ends an actor that can never be placed.
func (t *Tables) FailActor(id spec.ActorID, cause *spec.ErrorInfo, now int64) (c Change) {
	a := t.edit(id)
	if a == nil || !a.waiting() {
		return c
	}
	if cause.Fields == nil {
		cause.Fields = map[string]any{}
	}
	cause.Fields["actor_id"] = id.String()
	t.bury(&c, a, cause, now)
	return c
}
