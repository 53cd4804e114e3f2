package gcs

import (
	"fmt"
	"maps"
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
)

// Actor is one row of the actor table. Its state goes
//
//	DEPENDENCIES_UNREADY (name reserved) → PENDING_CREATION → ALIVE ⇄ RESTARTING → DEAD
//
// In PENDING_CREATION and RESTARTING it waits for a place while Info.NodeID is
// zero, and for its constructor while it is not.
type Actor struct {
	Info   spec.ActorInfo   `json:"info"`
	Create wire.ActorCreate `json:"create"` // its Info is unused; Stored is a row of its own
	// OwnerGone: the node that holds the creation spec is dead, or the job of
	// a detached actor has ended; the stored spec is used.
	OwnerGone bool `json:"owner_gone,omitempty"`
	// Unreferenced: the last handle is gone; it ends when its queue is empty.
	Unreferenced bool `json:"unreferenced,omitempty"`
	// Reserver is the node that took the name, before the creation.
	Reserver  spec.NodeID `json:"reserver,omitzero"`
	CreatedMS int64       `json:"created_ms,omitempty"`
	StartMS   int64       `json:"start_ms,omitempty"`
	EndMS     int64       `json:"end_ms,omitempty"`
}

// nameKey is a name within a namespace.
type nameKey struct{ namespace, name string }

// claim is a living incarnation that a node reported.
type claim struct {
	node    spec.NodeID
	started wire.ActorStarted
}

func (a *Actor) name() nameKey { return nameKey{a.Info.Options.Namespace, a.Info.Options.Name} }

// waiting tells that the scheduler must find a node for it.
func (a *Actor) waiting() bool {
	return (a.Info.State == spec.ActorPending || a.Info.State == spec.ActorRestarting) && a.Info.NodeID.IsZero()
}

// placed tells that an incarnation runs, or is being started, on Info.NodeID.
func (a *Actor) placed() bool {
	return a.Info.State != spec.ActorDead && !a.Info.NodeID.IsZero()
}

// edit gives a copy of a row to change; put stores it.
func (t *Tables) edit(id spec.ActorID) *Actor {
	a := t.actors[id]
	if a == nil {
		return nil
	}
	row := *a
	return &row
}

func (t *Tables) putActor(c *Change, a *Actor) {
	t.setActor(a)
	row := *a
	row.Create.Stored = nil
	c.putJSON(tableActors, a.Info.ID.String(), row)
	c.Sync = c.Sync || a.Info.Options.Detached || a.Info.Options.Name != "" && a.Info.State != spec.ActorAlive
	c.effect(ActorChanged{t.watchers(a), a.Info})
}

// setActor puts a row in place and keeps the index of those that want a place.
func (t *Tables) setActor(a *Actor) {
	t.actors[a.Info.ID] = a
	if a.waiting() {
		t.wanting[a.Info.ID] = true
	} else {
		delete(t.wanting, a.Info.ID)
	}
}

// watchers are the nodes that asked, and the owner.
func (t *Tables) watchers(a *Actor) []spec.NodeID {
	to := maps.Clone(t.watch[a.Info.ID])
	if to == nil {
		to = map[spec.NodeID]bool{}
	}
	if !a.Info.Owner.IsZero() && !a.OwnerGone {
		to[a.Info.Owner] = true
	}
	return slices.SortedFunc(maps.Keys(to), func(a, b spec.NodeID) int { return slices.Compare(a[:], b[:]) })
}

// ReserveActor takes a name before the creation. With get_if_exists, or for a
// repeated call, the actor that has the name is given back instead.
func (t *Tables) ReserveActor(id spec.ActorID, o spec.ActorOptions, from spec.NodeID, now int64) (existing *spec.ActorInfo, c Change, err error) {
	key := nameKey{o.Namespace, o.Name}
	if o.Name == "" {
		return nil, c, nil
	}
	if holder, taken := t.names[key]; taken && holder != id {
		if !o.GetIfExists {
			return nil, c, nameTaken(key)
		}
		info := t.actors[holder].Info
		return &info, c, nil
	}
	if t.actors[id] != nil {
		return nil, c, nil
	}
	a := &Actor{Reserver: from, CreatedMS: now}
	a.Info = spec.ActorInfo{ID: id, JobID: id.JobID(), Options: o, State: spec.ActorDependenciesUnready, Owner: from}
	t.names[key] = id
	t.putActor(&c, a)
	return nil, c, nil
}

func nameTaken(key nameKey) error {
	return &spec.ErrorInfo{
		Type: "ActorAlreadyExistsError",
		Message: fmt.Sprintf("The name %s (namespace=%s) is already taken. Please use a different name or get the existing actor using ray.get_actor('%s', namespace='%s')",
			key.name, key.namespace, key.name, key.namespace),
	}
}

// CreateActor admits an actor that wants a place. A repeated call changes nothing.
func (t *Tables) CreateActor(req wire.ActorCreate, now int64) (c Change, err error) {
	id := req.Info.ID
	old := t.actors[id]
	if old != nil && old.Info.State != spec.ActorDependenciesUnready {
		return c, nil
	}
	o := req.Info.Options
	key := nameKey{o.Namespace, o.Name}
	if holder, taken := t.names[key]; o.Name != "" && taken && holder != id {
		return c, nameTaken(key)
	}
	a := &Actor{Create: req, CreatedMS: now}
	a.Create.Info = spec.ActorInfo{}
	a.Info = req.Info
	a.Info.State, a.Info.Incarnation, a.Info.Restarts = spec.ActorPending, 0, 0
	a.Info.NodeID, a.Info.WorkerID, a.Info.PID, a.Info.Death = spec.NodeID{}, spec.WorkerID{}, 0, nil
	if o.Name != "" {
		t.names[key] = id
	}
	t.storeSpec(&c, a)
	t.putActor(&c, a)
	c.effect(Replan{})
	return c, nil
}

func (t *Tables) storeSpec(c *Change, a *Actor) {
	if len(a.Create.Stored) > 0 {
		c.Writes = append(c.Writes, Write{tableStored, a.Info.ID.String(), a.Create.Stored})
	}
}

// WaitingActors are those that want a place, oldest first.
func (t *Tables) WaitingActors() []Actor {
	var out []Actor
	for id := range t.wanting {
		out = append(out, *t.actors[id])
	}
	slices.SortFunc(out, func(a, b Actor) int {
		if a.CreatedMS != b.CreatedMS {
			return int(a.CreatedMS - b.CreatedMS)
		}
		return slices.Compare(a.Info.ID[:], b.Info.ID[:])
	})
	return out
}

// ActorsWait tells whether any actor wants a place.
func (t *Tables) ActorsWait() bool { return len(t.wanting) > 0 }

// PlaceActor starts the next incarnation on the node that the scheduler chose;
// room tells that it is to begin there at once or be refused.
func (t *Tables) PlaceActor(id spec.ActorID, node spec.NodeID, room bool) (c Change) {
	a := t.edit(id)
	if a == nil || !a.waiting() {
		return c
	}
	a.Info.NodeID, a.Info.Reason = node, ""
	a.Info.Incarnation++
	t.putActor(&c, a)
	start := t.startEffect(a)
	start.Place.Room = room
	c.effect(start)
	return c
}

func (t *Tables) startEffect(a *Actor) StartActor {
	place := wire.ActorPlace{ActorID: a.Info.ID, Incarnation: a.Info.Incarnation, Node: a.Info.NodeID}
	if a.OwnerGone {
		place.Stored = a.Create.Stored
		return StartActor{a.Info.NodeID, place}
	}
	return StartActor{a.Info.Owner, place}
}

// ActorWaits records why an actor has no place yet.
func (t *Tables) ActorWaits(id spec.ActorID, reason string) (c Change) {
	a := t.edit(id)
	if a == nil || !a.waiting() || a.Info.Reason == reason {
		return c
	}
	a.Info.Reason = reason
	t.actors[id] = a // soft: not stored
	c.effect(ActorChanged{t.watchers(a), a.Info})
	return c
}

// ActorStarted records that a constructor has returned.
func (t *Tables) ActorStarted(s wire.ActorStarted, from spec.NodeID, now int64) (c Change) {
	a := t.edit(s.ActorID)
	if a == nil || a.Info.State == spec.ActorDead || a.Info.Incarnation != s.Incarnation || a.Info.NodeID != from {
		// Nobody waits for this incarnation: it must not live on.
		c.effect(KillActor{from, wire.ActorKill{ActorID: s.ActorID, Incarnation: s.Incarnation, NoRestart: true, Reason: "this incarnation of the actor is not the current one"}})
		return c
	}
	if a.Info.State == spec.ActorAlive {
		return c
	}
	a.Info.State = spec.ActorAlive
	a.Info.WorkerID, a.Info.PID, a.Info.ReprName = s.WorkerID, s.PID, s.ReprName
	if a.StartMS == 0 {
		a.StartMS = now
	}
	t.putActor(&c, a)
	if a.Unreferenced {
		c.kill(a, outOfScope)
	}
	return c
}

// outOfScope ends an actor without a handle.
var outOfScope = wire.ActorKill{NoRestart: true, Graceful: true, Reason: "all references to the actor were removed"}

// kill orders the end of the present incarnation of an actor, if it has a place.
func (c *Change) kill(a *Actor, k wire.ActorKill) {
	if a.placed() {
		k.ActorID, k.Incarnation = a.Info.ID, a.Info.Incarnation
		c.effect(KillActor{a.Info.NodeID, k})
	}
}

// Actor gives a row.
func (t *Tables) Actor(id spec.ActorID) (Actor, bool) {
	if a := t.actors[id]; a != nil {
		return *a, true
	}
	return Actor{}, false
}

// ActorByName finds a living actor.
func (t *Tables) ActorByName(namespace, name string) (spec.ActorInfo, bool) {
	if id, ok := t.names[nameKey{namespace, name}]; ok {
		return t.actors[id].Info, true
	}
	return spec.ActorInfo{}, false
}

// NamedActors lists the names of living actors, in one namespace or in all.
func (t *Tables) NamedActors(namespace string, all bool) []spec.ActorOptions {
	out := []spec.ActorOptions{}
	for key := range t.names {
		if all || key.namespace == namespace {
			out = append(out, spec.ActorOptions{Name: key.name, Namespace: key.namespace})
		}
	}
	slices.SortFunc(out, func(a, b spec.ActorOptions) int {
		return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
	})
	return out
}

// Actors lists all rows, oldest first.
func (t *Tables) Actors() []Actor {
	return t.actorsThat(func(*Actor) bool { return true })
}

// actorsThat lists the rows that keep wants, oldest first.
func (t *Tables) actorsThat(keep func(*Actor) bool) []Actor {
	out := []Actor{}
	for _, a := range t.actors {
		if keep(a) {
			out = append(out, *a)
		}
	}
	slices.SortFunc(out, func(a, b Actor) int {
		if a.CreatedMS != b.CreatedMS {
			return int(a.CreatedMS - b.CreatedMS)
		}
		return slices.Compare(a.Info.ID[:], b.Info.ID[:])
	})
	return out
}

// WatchActor gives the row and tells the node of later changes.
func (t *Tables) WatchActor(id spec.ActorID, from spec.NodeID) (spec.ActorInfo, bool) {
	a := t.actors[id]
	if a == nil {
		return spec.ActorInfo{}, false
	}
	if a.Info.State != spec.ActorDead {
		if t.watch[id] == nil {
			t.watch[id] = map[spec.NodeID]bool{}
		}
		t.watch[id][from] = true
	}
	return a.Info, true
}
