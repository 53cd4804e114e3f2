package scheduler

import (
	"maps"
	"slices"
	"time"

	"ray/internal/spec"
)

// Promise is something placed on a node that the node's word may not show yet.
type Promise struct {
	Need  spec.Resources // of each
	Times int
	Mean  time.Duration // of the run time of tasks; 0 = unknown
	Until time.Time
	Tasks bool // tasks and actors: the node tells of their arrival
}

type expiring struct {
	node  spec.NodeID
	until time.Time
}

// Promise counts p against a node until then, or until Kept, or, for tasks,
// until the node has told of their arrival. It adds nothing to what Place has
// taken in this round.
func (c *Cluster) Promise(id spec.NodeID, p Promise) {
	n := c.byID[id]
	if n == nil {
		return
	}
	n.promised = append(n.promised, p)
	at := len(c.expiry) // most end last
	for at > 0 && c.expiry[at-1].until.After(p.Until) {
		at--
	}
	c.expiry = slices.Insert(c.expiry, at, expiring{id, p.Until})
}

// arrived ends promises of tasks and actors, the oldest first.
func (n *Node) arrived(tasks int) {
	if tasks == 0 {
		return
	}
	for i := range n.promised {
		if p := &n.promised[i]; p.Tasks && tasks > 0 {
			came := min(tasks, p.Times)
			p.Times, tasks = p.Times-came, tasks-came
		}
	}
	n.promised = slices.DeleteFunc(n.promised, func(p Promise) bool { return p.Times == 0 })
}

// Kept ends a promise of something else than tasks that the node's word shows
// from now on.
func (c *Cluster) Kept(id spec.NodeID, need spec.Resources) bool {
	n := c.byID[id]
	if n == nil {
		return false
	}
	for i, p := range n.promised {
		if !p.Tasks && maps.Equal(p.Need, need) {
			n.promised = slices.Delete(n.promised, i, i+1)
			c.settle(n)
			return true
		}
	}
	return false
}

// Expire ends the promises that are over. next is when the next one is; zero
// if there is none.
func (c *Cluster) Expire(now time.Time) (next time.Time) {
	done := 0
	for _, e := range c.expiry {
		if e.until.After(now) {
			next = e.until
			break
		}
		done++
		n := c.byID[e.node]
		if n == nil {
			continue
		}
		before := len(n.promised)
		n.promised = slices.DeleteFunc(n.promised, func(p Promise) bool { return !p.Until.After(now) })
		if len(n.promised) != before {
			c.settle(n)
		}
	}
	c.expiry = slices.Delete(c.expiry, 0, done)
	return next
}
