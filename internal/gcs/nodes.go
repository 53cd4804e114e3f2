package gcs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ray/internal/spec"
)

func (t *Tables) putNode(c *Change, n *spec.Node) {
	t.nodes[n.ID] = n
	row := *n
	row.Available, row.Activity = nil, nil // soft: told again by the next heartbeat
	c.putJSON(tableNodes, n.ID.String(), row)
	c.effect(NodeChanged{*n})
}

// Join admits a node, new or known. A node that was declared dead does not
// come back: it must join under a new id.
func (t *Tables) Join(info spec.NodeInfo, now int64) (c Change, err error) {
	old := t.nodes[info.ID]
	if old != nil && old.State == spec.NodeDead {
		return c, fmt.Errorf("node %s was declared dead (%s): it must join again as a new node", info.ID, old.DeathReason)
	}
	n := &spec.Node{NodeInfo: info, State: spec.NodeAlive, Available: info.Total.Clone()}
	if old != nil {
		n.State, n.Drain, n.Heir = old.State, old.Drain, old.Heir
	}
	if n.StartMS == 0 {
		n.StartMS = now
	}
	t.putNode(&c, n)
	c.effect(Replan{})
	if old == nil {
		c.effect(Tell{"INFO", "node", fmt.Sprintf("Node %s joined (%s).", nodeText(n), offered(n.Total))})
	}
	return c, nil
}

// SetNode takes over a node's soft state.
func (t *Tables) SetNode(id spec.NodeID, total, available spec.Resources, idleMS int64, activity []string, draining bool) (c Change) {
	n := t.nodes[id]
	if n == nil || n.State == spec.NodeDead {
		return c
	}
	row := *n
	row.Total, row.Available, row.IdleMS, row.Activity = total, available, idleMS, activity
	t.nodes[id] = &row
	if draining && row.State == spec.NodeAlive {
		row.State = spec.NodeDraining
		t.putNode(&c, &row)
	}
	return c
}

// NodeHeir notes who owns now what a draining node owned.
func (t *Tables) NodeHeir(id, heir spec.NodeID) (c Change) {
	n := t.nodes[id]
	if n == nil || n.State == spec.NodeDead || heir.IsZero() || n.Heir == heir {
		return c
	}
	row := *n
	row.Heir = heir
	t.putNode(&c, &row)
	return c
}

// NodeDraining marks a node that takes no new work. A later request replaces
// an earlier one.
func (t *Tables) NodeDraining(id spec.NodeID, d spec.Drain) (c Change) {
	if n := t.nodes[id]; n != nil && n.State != spec.NodeDead {
		row := *n
		row.State, row.Drain = spec.NodeDraining, &d
		t.putNode(&c, &row)
		c.effect(Tell{"INFO", "node", fmt.Sprintf("Node %s drains: %s.", nodeText(&row), d.Message)})
	}
	return c
}

// death is what the end of a node counts as, and what is said of it: a drained
// one that ends by itself, or after its deadline, was expected to.
func death(n *spec.Node, reason string, expected bool, now int64) (kind, text string) {
	d := n.Drain
	switch {
	case d != nil && expected && d.Reason == spec.DrainIdle:
		return spec.DeathIdle, d.Message
	case d != nil && expected:
		return spec.DeathPreempted, d.Message
	case n.Preempted() && d.DeadlineMS > 0 && now >= d.DeadlineMS:
		return spec.DeathPreempted, d.Message + " (Node was forcibly preempted)"
	case expected:
		return spec.DeathExpected, reason
	}
	return spec.DeathUnexpected, reason
}

// NodeDead declares a node dead, with all that follows: its actors and
// bundles are placed again, what it owned ends, its drivers' jobs finish.
func (t *Tables) NodeDead(id spec.NodeID, reason string, expected bool, now int64) (c Change) {
	old := t.nodes[id]
	if old == nil || old.State == spec.NodeDead {
		return c
	}
	row := *old
	row.State, row.EndMS, row.Available = spec.NodeDead, now, nil
	row.DeathKind, row.DeathReason = death(old, reason, expected, now)
	t.putNode(&c, &row)
	if last, full := t.endedNodes.add(id, keptNodes); full {
		delete(t.nodes, last)
		c.remove(tableNodes, last.String())
	}
	severity := "WARNING"
	if expected {
		severity = "INFO"
	}
	c.effect(Tell{severity, "node", fmt.Sprintf("Node %s left: %s.", nodeText(&row), reason)})
	for _, job := range t.RunningDrivers(id) {
		c.Merge(t.FinishJob(job, "The node of the driver died: "+reason, true, now))
	}
	c.Merge(t.actorsOfDeadNode(&row, reason, now))
	c.Merge(t.bundlesOfDeadNode(id))
	for _, nodes := range t.watch {
		delete(nodes, id)
	}
	c.effect(Replan{})
	return c
}

func nodeText(n *spec.Node) string {
	text := n.ID.String()[:8]
	if n.Name != "" && n.Name != n.IP {
		text = n.Name
	}
	if n.NodeType != "" {
		text += ", type " + n.NodeType
	}
	return text + " at " + n.IP
}

// offered leaves out of a node's resources what every node has.
func offered(r spec.Resources) spec.Resources {
	out := r.Clone()
	maps.DeleteFunc(out, func(name string, _ spec.Fixed) bool {
		return name == spec.Memory || name == spec.ObjectStoreMemory || strings.HasPrefix(name, "node:")
	})
	return out
}

// Node gives a row.
func (t *Tables) Node(id spec.NodeID) (spec.Node, bool) {
	if n := t.nodes[id]; n != nil {
		return *n, true
	}
	return spec.Node{}, false
}

// Nodes lists the node table: living nodes first, the head's node before
// them, each group by the time of joining.
func (t *Tables) Nodes() []spec.Node {
	out := make([]spec.Node, 0, len(t.nodes))
	for _, n := range t.nodes {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b spec.Node) int {
		return cmp.Or(boolOrder(a.State == spec.NodeDead, b.State == spec.NodeDead), boolOrder(b.Head, a.Head),
			cmp.Compare(a.StartMS, b.StartMS), slices.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}
