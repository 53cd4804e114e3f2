package node

import (
	"slices"
	"time"

	"ray/internal/spec"
)

const (
	// worthMoving is how many bytes of its inputs another node must have more
	// than this one before a task goes to them: fewer are here as soon as the
	// task would be there.
	worthMoving = 1 << 20
	// A node is sent so many times what it could run at once for its data,
	// within the time after which it gives back what waits there in vain.
	dataBurst = 4
)

// burst counts tasks of a class that were sent to their data on one node.
type burst struct {
	since time.Time
	count int
}

// sendToData forwards a task whose large inputs lie elsewhere to the node that
// has most of them, where bringing them here would take longer. False: it is
// to be placed as any other. One that came back, since that node was busy, has
// its inputs brought to it.
func (d *daemon) sendToData(c *class, r *run) bool {
	t := r.spec.Tmpl
	if len(r.spec.Deps) == 0 || r.sentToData || c.pool == nil || c.pool.Actor || len(t.LabelSelector) > 0 || t.Strategy.Kind != "" && t.Strategy.Kind != spec.StrategyDefault {
		return false
	}
	large := d.inputs(r)
	if len(large) == 0 {
		return false
	}
	var best spec.NodeID
	bytes := map[spec.NodeID]int64{}
	for _, in := range large {
		for _, id := range in.Nodes {
			if bytes[id] += in.Size; id != d.self && bytes[id] > bytes[best] {
				best = id
			}
		}
	}
	if bytes[best]-bytes[d.self] < worthMoving || !d.takesFor(c, best, d.pythonOf(r.spec.ID.JobID())) {
		return false
	}
	r.sentToData = true
	d.forward(r.task, best, 0)
	return true
}

// takesFor tells whether a node may get one more task of a class for its data.
func (d *daemon) takesFor(c *class, id spec.NodeID, python string) bool {
	n, known := d.nodes[id]
	switch {
	case !known || n.State != spec.NodeAlive || n.Drain != nil || !n.Total.Fits(c.need):
		return false
	case python != "" && !slices.Contains(n.Pythons, python):
		return false
	case n.Total[spec.GPU] > 0 && c.need[spec.GPU] == 0:
		return false // others have more use for it
	}
	b := c.toData[id]
	if b == nil {
		if c.toData == nil {
			c.toData = map[spec.NodeID]*burst{}
		}
		b = &burst{}
		c.toData[id] = b
	}
	if now := time.Now(); now.Sub(b.since) > giveBackAfter {
		b.since, b.count = now, 0
	}
	b.count++
	return b.count <= dataBurst*min(n.Total.Times(c.need), many)
}

// many stands for how often a node could run what needs nothing.
const many = 1000
