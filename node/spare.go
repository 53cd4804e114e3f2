package node

import (
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// A node with GPUs keeps them for what needs some: tasks that do not are offered
// to the head before they begin here, as long as another node could run them.
const (
	// spareWait is how long such a task waits for the head's answer before it
	// begins here after all.
	spareWait = 200 * time.Millisecond
	// staysFor is how long tasks of a class begin here unasked after the head
	// has found no room for one elsewhere.
	staysFor = 100 * time.Millisecond
)

// spareState is what a class knows about it.
type spareState struct {
	seen  int       // d.nodesSeen for which could holds, plus one
	could bool      // another node has no GPUs and is large enough
	until time.Time // tasks begin here unasked
}

// spares tells whether a task that could begin here is offered to nodes without
// GPUs first.
func (d *daemon) spares(c *class) bool {
	if !d.avoidGPUs || !c.plain {
		return false
	}
	if s := &c.spare; s.seen != d.nodesSeen+1 {
		s.seen, s.could = d.nodesSeen+1, d.couldSpare(c)
	}
	return c.spare.could && !time.Now().Before(c.spare.until)
}

func (d *daemon) couldSpare(c *class) bool {
	if c.need[spec.GPU] > 0 || d.cfg.Resources[spec.GPU] == 0 {
		return false
	}
	for id, n := range d.nodes {
		if id != d.self && n.State == spec.NodeAlive && n.Total[spec.GPU] == 0 && n.Total.Fits(c.need) {
			return true
		}
	}
	return false
}

// answered notes a grant: one for this node means that there is no other now.
func (d *daemon) answered(g wire.Grant, now time.Time) {
	if len(g.Key) < 2 || g.Key[0] != 'a' {
		return
	}
	if row := d.away[g.Key[1:]]; row != nil {
		row.asked = now
		if g.Node == d.self {
			row.class.spare.until = now.Add(staysFor)
		}
	}
}

// spareNoLonger begins the tasks for which the head, which may be away, has not
// answered in time.
func (d *daemon) spareNoLonger(now time.Time) {
	for _, row := range d.away {
		c := row.class
		if len(row.tasks) == 0 || !c.plain || !c.local || d.drain != nil || now.Sub(row.asked) < spareWait || !d.pool.Feasible(c.pool) {
			continue
		}
		c.spare.until = now.Add(staysFor)
		tasks := row.tasks
		row.tasks = nil
		for _, r := range tasks {
			if !r.over && r.task.State != owner.TaskDone {
				d.runHere(r)
			}
		}
	}
}
