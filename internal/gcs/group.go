package gcs

import (
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
)

// Group is one row of the placement group table. All bundles are reserved in
// two steps: every chosen node prepares; when all have, every node commits.
// If one refuses, what was prepared is given back and the group waits for
// another plan. After the death of a node only its bundles are placed again.
type Group struct {
	Info    spec.PlacementGroup `json:"info"`
	Bundles []Reservation       `json:"reservations"`
	// WasCreated: it is RESCHEDULING rather than PENDING while bundles lack a place.
	WasCreated bool `json:"was_created,omitempty"`
}

// Reservation is where one bundle stands.
type Reservation struct {
	Step int         `json:"step"`
	Node spec.NodeID `json:"node,omitzero"`
}

// Steps of a Reservation.
const (
	Unplaced   = iota
	Preparing  // the node was asked
	Prepared   // the node has agreed
	Committing // the node was told to open it
	Committed
)

// open tells that no step is under way.
func (g *Group) open() bool {
	return !slices.ContainsFunc(g.Bundles, func(r Reservation) bool {
		return r.Step != Unplaced && r.Step != Committed
	})
}

// Waiting tells that the scheduler must find nodes for some bundles.
func (g *Group) Waiting() bool {
	return g.Info.State != spec.PGRemoved && g.open() &&
		slices.ContainsFunc(g.Bundles, func(r Reservation) bool { return r.Step == Unplaced })
}

// resume puts a row that was read back from the store into a state to go on
// from: nodes drop what was prepared but not committed when they register, so
// steps that were under way begin again.
func (g *Group) resume() {
	for i := range g.Bundles {
		if g.Bundles[i].Step != Committed {
			g.Bundles[i] = Reservation{}
		}
	}
	g.Info.Attempts++ // late answers belong to an older attempt
	g.settleState()
}

// settleState derives the public columns from the reservations.
func (g *Group) settleState() {
	if g.Info.State == spec.PGRemoved {
		return
	}
	g.Info.Nodes = make([]spec.NodeID, len(g.Bundles))
	unplaced, preparing := false, false
	for i, r := range g.Bundles {
		if r.Step == Committed || r.Step == Committing {
			g.Info.Nodes[i] = r.Node
		}
		unplaced = unplaced || r.Step == Unplaced
		preparing = preparing || r.Step == Preparing || r.Step == Prepared
	}
	switch {
	case g.WasCreated && (unplaced || !g.open()):
		g.Info.State = spec.PGRescheduling
	case unplaced || preparing:
		g.Info.State = spec.PGPending
	case !g.open():
		g.Info.State = spec.PGPrepared
	default:
		g.Info.State, g.WasCreated, g.Info.Reason, g.Info.Infeasible = spec.PGCreated, true, "", false
	}
}

func (t *Tables) editGroup(id spec.PlacementGroupID) *Group {
	g := t.groups[id]
	if g == nil {
		return nil
	}
	row := *g
	row.Bundles = slices.Clone(g.Bundles)
	return &row
}

func (t *Tables) keepGroup(g *Group) {
	t.groups[g.Info.ID] = g
	t.changedGroups[g.Info.ID] = true
	if g.Info.State == spec.PGRemoved {
		delete(t.living, g.Info.ID)
	} else {
		t.living[g.Info.ID] = true
	}
	if g.Waiting() {
		t.unplaced[g.Info.ID] = true
	} else {
		delete(t.unplaced, g.Info.ID)
	}
}

// TakeChangedGroups gives the rows of groups that have changed since the last
// call, the removed ones too.
func (t *Tables) TakeChangedGroups() []Group {
	out := make([]Group, 0, len(t.changedGroups))
	for id := range t.changedGroups {
		if g := t.groups[id]; g != nil {
			out = append(out, *g)
		}
	}
	clear(t.changedGroups)
	return out
}

// WaitingGroups lists the rows of groups that want places, oldest first.
func (t *Tables) WaitingGroups() []Group {
	out := make([]Group, 0, len(t.unplaced))
	for id := range t.unplaced {
		out = append(out, *t.groups[id])
	}
	return byAge(out)
}

func (t *Tables) putGroup(c *Change, g *Group) {
	g.settleState()
	t.keepGroup(g)
	c.putJSON(tableGroups, g.Info.ID.String(), g)
	c.effect(GroupChanged{g.Info})
}

func (g *Group) bundle(i int) wire.Bundle {
	return wire.Bundle{Group: g.Info.ID, Index: i, Resources: g.Info.Bundles[i], JobID: g.Info.JobID, Of: len(g.Info.Bundles)}
}

// CreateGroup admits a group; a repeated call changes nothing.
func (t *Tables) CreateGroup(pg spec.PlacementGroup, now int64) (c Change, err error) {
	if t.groups[pg.ID] != nil {
		return c, nil
	}
	if pg.Name != "" {
		if _, taken := t.GroupByName(pg.Namespace, pg.Name); taken {
			return c, &spec.ErrorInfo{Type: "ValueError", Message: "A placement group named '" + pg.Name + "' exists already in namespace '" + pg.Namespace + "': use another name, or remove that one first."}
		}
	}
	if a := t.actors[pg.Root]; !pg.Root.IsZero() && !pg.Detached && (a == nil || a.Info.State == spec.ActorDead) {
		return c, &spec.ErrorInfo{Type: "ValueError", Message: "The placement group is not made: the actor " + pg.Root.String() + ", with which it would end, is dead."}
	}
	pg.State, pg.Nodes, pg.Attempts, pg.CreatedMS = spec.PGPending, nil, 0, now
	g := &Group{Info: pg, Bundles: make([]Reservation, len(pg.Bundles))}
	t.putGroup(&c, g)
	// Nobody tells a group again after a restart of the head: only its bundles
	// are, by the nodes that hold them.
	c.Sync = true
	c.effect(Replan{})
	return c, nil
}

// PlanGroup begins an attempt: nodes gives a node to every unplaced bundle
// (others are skipped).
func (t *Tables) PlanGroup(id spec.PlacementGroupID, nodes []spec.NodeID) (c Change) {
	g := t.editGroup(id)
	if g == nil || !g.Waiting() || len(nodes) != len(g.Bundles) {
		return c
	}
	g.Info.Attempts++
	for i := range g.Bundles {
		if g.Bundles[i].Step == Unplaced {
			g.Bundles[i] = Reservation{Preparing, nodes[i]}
			c.effect(PrepareBundle{nodes[i], g.Info.Attempts, g.bundle(i)})
		}
	}
	t.putGroup(&c, g)
	return c
}

// BundlePrepared takes a node's answer to PrepareBundle.
func (t *Tables) BundlePrepared(id spec.PlacementGroupID, attempt, index int, from spec.NodeID, ok bool) (c Change) {
	g := t.editGroup(id)
	if g == nil || g.Info.Attempts != attempt || g.Bundles[index] != (Reservation{Preparing, from}) {
		// Too late: a newer attempt, a removal or a death has overtaken it.
		if ok && (g == nil || g.Bundles[index].Node != from || g.Bundles[index].Step == Unplaced) {
			c.effect(ReturnBundle{from, wire.Bundle{Group: id, Index: index}})
		}
		return c
	}
	g.Bundles[index] = Reservation{}
	if ok {
		g.Bundles[index] = Reservation{Prepared, from}
	}
	t.advance(&c, g)
	return c
}

// advance goes on once every node has answered.
func (t *Tables) advance(c *Change, g *Group) {
	count := map[int]int{}
	for _, r := range g.Bundles {
		count[r.Step]++
	}
	switch {
	case count[Preparing] > 0:
	case count[Unplaced] > 0:
		for i, r := range g.Bundles {
			if r.Step == Prepared {
				c.effect(ReturnBundle{r.Node, g.bundle(i)})
				g.Bundles[i] = Reservation{}
			}
		}
		c.effect(Replan{})
	default:
		for i, r := range g.Bundles {
			if r.Step == Prepared {
				g.Bundles[i].Step = Committing
				c.effect(CommitBundle{r.Node, g.Info.Attempts, g.bundle(i)})
			}
		}
	}
	t.putGroup(c, g)
}

// BundleCommitted takes a node's answer to CommitBundle.
func (t *Tables) BundleCommitted(id spec.PlacementGroupID, attempt, index int, from spec.NodeID, ok bool, now int64) (c Change) {
	g := t.editGroup(id)
	if g == nil || g.Info.Attempts != attempt || g.Bundles[index] != (Reservation{Committing, from}) {
		if ok && (g == nil || g.Bundles[index].Node != from || g.Bundles[index].Step == Unplaced) {
			c.effect(ReturnBundle{from, wire.Bundle{Group: id, Index: index}})
		}
		return c
	}
	g.Bundles[index] = Reservation{}
	if ok {
		g.Bundles[index] = Reservation{Committed, from}
	}
	if !g.WasCreated && g.open() && !g.Waiting() {
		g.Info.Millis = now - g.Info.CreatedMS
	}
	t.putGroup(&c, g)
	c.effect(Replan{}) // what waits for the group may go on, or the bundle needs another node
	return c
}
