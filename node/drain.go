package node

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/pool"
)

// onDrain makes the node take no new work. A node that is to be taken away
// agrees at once; one that was thought to be idle refuses if it is not.
func (d *daemon) onDrain(_ context.Context, r *wire.Request) (any, []byte, error) {
	var in spec.Drain
	if err := r.Decode(&in); err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	defer d.unlock() // with the effects of sending away
	if busy := d.activity(true); in.Reason == spec.DrainIdle && len(busy) > 0 {
		return wire.DrainReply{Message: "The node to be idle terminated is no longer idle. It says: " + strings.Join(busy, ", ") + "."}, nil, nil
	}
	d.drain, d.drainAt = &in, time.Now()
	d.sendAway()
	d.after(lingers, func() { d.locked(d.beat) })
	d.beat()
	d.wakeTicker()
	return wire.DrainReply{Accepted: true}, nil, nil
}

// lingers is how long a draining node stays at least: others may have sent tasks
// here before they heard of the drain, and such a task has to be given back. The
// end of its node would be the end of one that may not be retried.
const lingers = 500 * time.Millisecond

// lastWords says what keeps a draining node that has nothing else to do.
func (d *daemon) lastWords() string {
	if d.drain == nil || d.cfg.Head {
		return ""
	}
	if time.Since(d.drainAt) < lingers {
		return spec.MayCome
	}
	if d.unsent > 0 {
		return spec.HasToTell + " other nodes what has become of " + counted(d.unsent, "task", "tasks")
	}
	for _, p := range d.peers {
		if p.owes = p.owes && !p.dead && (p.session == nil || p.session.Queued() > 0); p.owes {
			return spec.IsTelling + " node " + p.id.String() + " what has become of its tasks"
		}
	}
	return ""
}

// sendAway gives up what is queued here and has not begun: tasks of this node's
// clients ask for places elsewhere, those of other nodes go back to them.
func (d *daemon) sendAway() {
	var back []*run
	d.pool.Classes(func(c *pool.Class) {
		if n, _ := d.queued(c); n > 0 && !c.Actor {
			back = append(back, d.takeBack(c, n, mayLeave)...)
		}
	})
	slices.SortStableFunc(back, func(a, b *run) int { return int(a.Queue - b.Queue) })
	for _, r := range append(d.onTheirWay(), back...) {
		if r.task == nil {
			d.endRun(r, outcome{lost: unschedulable(r.spec.Tmpl.Name, "the chosen node drains")})
			continue
		}
		d.unhold(r)
		delete(d.runs, r.spec.ID)
		d.askPlace(r.spec.Tmpl.Class.(*class), r.afresh())
	}
}

// onTheirWay are the tasks that may leave and whose arguments are being brought
// here. What brings these may take long, or the node's whole time.
func (d *daemon) onTheirWay() (out []*run) {
	for _, r := range d.runs {
		if r.missing > 0 && !r.late && r.spec.Kind == owner.KindTask && mayLeave(r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *run) int { return bytes.Compare(a.spec.ID[:], b.spec.ID[:]) })
	return out
}

// afresh is the same attempt of a task that is owned here, for another place;
// arguments that come late find that nobody waits for them.
func (r *run) afresh() *run {
	again := &run{task: r.task, spec: r.spec, attempt: r.attempt, tree: r.tree}
	r.over, r.task.Run = true, again
	return again
}

// tasksHere counts the tasks that run here or wait, and is never 0 while there
// are some of which the arguments are on their way.
func (d *daemon) tasksHere() int {
	if n := d.pool.Running() + d.pool.Queued(); n > 0 {
		return n
	}
	return len(d.runs)
}

// mayLeave tells whether nothing binds a queued task to this node.
func mayLeave(r *run) bool {
	c := r.spec.Tmpl.Class.(*class)
	return c.lease.pg.IsZero() && !c.noSpill && (c.pinned.IsZero() || r.spec.Tmpl.Strategy.Soft)
}

// drainsAway tells whether a node drains and its end charges no retry. Under the lock.
func (d *daemon) drainsAway(id spec.NodeID) bool {
	n := d.nodes[id]
	return n.Preempted()
}

// pastDeadline ends a node whose time is over even if the head cannot be asked.
func (d *daemon) pastDeadline(now time.Time) bool {
	const patience = 2 * time.Second // the head tells it to end, which looks better
	return d.drain != nil && d.drain.DeadlineMS > 0 && !d.cfg.Head && now.After(time.UnixMilli(d.drain.DeadlineMS).Add(patience))
}
