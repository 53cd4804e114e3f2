package node

import (
	"time"

	"ray/node/pool"
)

// giveBackAfter is how long a task of another node may wait here for resources
// before it goes back to its owner: it was sent because a short wait was
// expected, and elsewhere there may be room.
const giveBackAfter = 300 * time.Millisecond

// giveBack returns the tasks of other nodes that wait here in vain, uncharged;
// their owners ask the head for other places.
func (d *daemon) giveBack() {
	var back []*run
	limit := d.now() - giveBackAfter.Microseconds()
	d.pool.Classes(func(c *pool.Class) {
		if c.Actor || c.Queued() == 0 || c.First().Queue > limit || d.pool.Fits(c) {
			return // short queues, and those that wait for a worker only
		}
		for _, t := range d.pool.TakeBack(c, c.Queued(), func(t *pool.Task) bool { return t.Queue <= limit && goesBack(t) }) {
			back = append(back, t.Data.(*run))
		}
	})
	for _, r := range back {
		d.endRun(r, outcome{lost: unschedulable(r.spec.Tmpl.Name, "the chosen node has no room for it now")})
	}
}

// goesBack tells whether a task came from another node and may run elsewhere.
func goesBack(t *pool.Task) bool {
	r := t.Data.(*run)
	c := r.spec.Tmpl.Class.(*class)
	return r.task == nil && c.pinned.IsZero() && c.lease.pg.IsZero()
}
