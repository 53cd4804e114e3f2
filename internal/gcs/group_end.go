package gcs

import (
	"cmp"
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
)

// RemoveGroup gives everything back, whatever step it is in.
func (t *Tables) RemoveGroup(id spec.PlacementGroupID, now int64) (c Change) {
	g := t.editGroup(id)
	if g == nil || g.Info.State == spec.PGRemoved {
		return c
	}
	for i, r := range g.Bundles {
		if r.Step != Unplaced {
			c.effect(ReturnBundle{r.Node, g.bundle(i)})
		}
		g.Bundles[i] = Reservation{}
	}
	g.Info.State, g.Info.Reason, g.Info.Infeasible = spec.PGRemoved, "", false
	g.Info.Nodes = nil
	t.putGroup(&c, g)
	c.Sync = true
	t.endActorsOfGroup(&c, id, now)
	if old, full := t.endedGroups.add(id, keptGroups); full {
		delete(t.groups, old)
		c.remove(tableGroups, old.String())
	}
	c.effect(Replan{})
	return c
}

// endActorsOfGroup ends the actors that lived in a group that is removed.
func (t *Tables) endActorsOfGroup(c *Change, id spec.PlacementGroupID, now int64) {
	inside := t.actorsThat(func(a *Actor) bool {
		return a.Info.State != spec.ActorDead && a.Create.Strategy.Kind == spec.StrategyPlacementGroup && a.Create.Strategy.PlacementGroup == id
	})
	for i := range inside {
		a := &inside[i]
		c.kill(a, wire.ActorKill{NoRestart: true, Reason: "its placement group was removed"})
		cause := &spec.ErrorInfo{Type: "ActorPlacementGroupRemoved", Message: "The placement group corresponding to this Actor has been removed.",
			Fields: map[string]any{"actor_id": a.Info.ID.String()}}
		if a.Info.State == spec.ActorAlive {
			cause = diedError(a, "The actor is dead because its worker process has died. Worker exit type: INTENDED_SYSTEM_EXIT: its placement group was removed.")
		}
		t.bury(c, a, cause, now)
	}
}

// endGroupsOfJob removes what a job leaves behind; the groups that its detached
// actors have made end with these.
func (t *Tables) endGroupsOfJob(job spec.JobID, now int64) (c Change) {
	t.endGroupsThat(&c, func(g *Group) bool { return g.Info.JobID == job && g.Info.Root.IsZero() }, now)
	return c
}

func (t *Tables) endGroupsThat(c *Change, end func(*Group) bool, now int64) {
	for _, g := range t.LivingGroups() {
		if !g.Info.Detached && end(&g) {
			c.Merge(t.RemoveGroup(g.Info.ID, now))
		}
	}
}

// bundlesOfDeadNode takes the bundles of a dead node out; a step that was under
// way goes on without them, and they are planned again.
func (t *Tables) bundlesOfDeadNode(node spec.NodeID) (c Change) {
	for _, g := range t.LivingGroups() {
		t.dropBundles(&c, g.Info.ID, func(_ int, r Reservation) bool { return r.Node == node })
	}
	return c
}

func (t *Tables) dropBundles(c *Change, id spec.PlacementGroupID, gone func(int, Reservation) bool) {
	g := t.editGroup(id)
	if g.Info.State == spec.PGRemoved {
		return
	}
	dropped := false
	for i, r := range g.Bundles {
		if r.Step != Unplaced && gone(i, r) {
			g.Bundles[i] = Reservation{}
			dropped = true
		}
	}
	if dropped {
		t.advance(c, g)
		c.effect(Replan{})
	}
}

// RejoinBundles reconciles the groups with the committed reservations that a
// node has told of when it registered: unknown ones are returned, missing ones
// are placed again.
func (t *Tables) RejoinBundles(node spec.NodeID, have []wire.Bundle) (c Change) {
	type key struct {
		id    spec.PlacementGroupID
		index int
	}
	there := map[key]bool{}
	for _, b := range have {
		there[key{b.Group, b.Index}] = true
		g := t.groups[b.Group]
		if g == nil || g.Info.State == spec.PGRemoved || b.Index < 0 || b.Index >= len(g.Bundles) {
			c.effect(ReturnBundle{node, b})
			continue
		}
		// A commit whose answer was lost with the old head counts.
		if r := g.Bundles[b.Index]; r.Node != node && r.Step == Unplaced {
			edit := t.editGroup(b.Group)
			edit.Bundles[b.Index] = Reservation{Committed, node}
			t.putGroup(&c, edit)
		} else if r.Node != node {
			c.effect(ReturnBundle{node, b})
		}
	}
	for _, g := range t.LivingGroups() {
		t.dropBundles(&c, g.Info.ID, func(i int, r Reservation) bool {
			return r.Node == node && r.Step == Committed && !there[key{g.Info.ID, i}]
		})
	}
	return c
}

// GroupsWait tells whether any group wants places.
func (t *Tables) GroupsWait() bool {
	return len(t.unplaced) > 0
}

// GroupWaits records why a group has no place yet, and whether the nodes of
// now could ever hold it.
func (t *Tables) GroupWaits(id spec.PlacementGroupID, reason string, infeasible bool) {
	if g := t.editGroup(id); g != nil && g.Waiting() && (g.Info.Reason != reason || g.Info.Infeasible != infeasible) {
		g.Info.Reason, g.Info.Infeasible = reason, infeasible
		t.groups[id] = g // soft: not stored
	}
}

// Group gives a row.
func (t *Tables) Group(id spec.PlacementGroupID) (Group, bool) {
	if g := t.groups[id]; g != nil {
		return *g, true
	}
	return Group{}, false
}

// GroupByName finds a group that is not removed.
func (t *Tables) GroupByName(namespace, name string) (spec.PlacementGroup, bool) {
	for id := range t.living {
		if g := t.groups[id]; g.Info.Name == name && g.Info.Namespace == namespace {
			return g.Info, true
		}
	}
	return spec.PlacementGroup{}, false
}

// Groups lists all rows, oldest first.
func (t *Tables) Groups() []Group {
	out := make([]Group, 0, len(t.groups))
	for _, g := range t.groups {
		out = append(out, *g)
	}
	return byAge(out)
}

// LivingGroups lists the rows of groups that are not removed, oldest first.
func (t *Tables) LivingGroups() []Group {
	out := make([]Group, 0, len(t.living))
	for id := range t.living {
		out = append(out, *t.groups[id])
	}
	return byAge(out)
}

func byAge(groups []Group) []Group {
	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Info.CreatedMS, b.Info.CreatedMS), slices.Compare(a.Info.ID[:], b.Info.ID[:]))
	})
	return groups
}
