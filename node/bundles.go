package node

import (
	"encoding/json"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/pool"
)

// reschedule looks again at tasks that wait for a place elsewhere: this node
// has got resources that it had not (a bundle).
func (d *daemon) reschedule() {
	if d.drain != nil {
		return
	}
	for key, row := range d.away {
		if !row.class.local || !d.pool.Feasible(row.class.pool) {
			continue
		}
		tasks := row.tasks
		delete(d.away, key)
		for _, r := range tasks {
			if !r.over && r.task.State != owner.TaskDone {
				d.runHere(r)
			}
		}
	}
}

func bundleOf(b wire.Bundle) pool.Bundle {
	return pool.Bundle{Group: b.Group, Index: b.Index, Resources: b.Resources, Job: b.JobID, Of: b.Of}
}

// groupHere answers pg.wait without the head if the whole group is on this
// node: half of the way, for groups that one node holds. A removal puts an end
// to that.
func (d *daemon) groupHere(method string, text []byte) bool {
	var in struct {
		ID spec.PlacementGroupID `json:"id"`
	}
	if json.Unmarshal(text, &in) != nil {
		return false // the head says what is wrong
	}
	if method == "pg.remove" {
		d.pool.DoubtGroup(in.ID)
		return false
	}
	return d.pool.HasGroup(in.ID)
}

// bundleReturn ends what runs inside a bundle and gives its resources back.
func (d *daemon) bundleReturn(b wire.Bundle) {
	hex := "_group_" + b.Group.String()
	uses := func(c *pool.Class) bool {
		for name := range c.Need {
			if len(name) > len(hex) && name[len(name)-len(hex):] == hex {
				return true
			}
		}
		return false
	}
	gone := &spec.ErrorInfo{Type: "TaskPlacementGroupRemoved", Message: "The placement group of this task has been removed."}
	for _, w := range d.workers {
		if w.pw != nil && w.pw.Class != nil && uses(w.pw.Class) {
			w.killed = "its placement group was removed"
			if w.actor != nil {
				w.actor.intended = true
				w.actor.cause = d.actorDied(w.actor, "The actor is dead because its placement group was removed.")
				w.actor.cause.Type = "ActorPlacementGroupRemoved"
			} else {
				for _, t := range w.pw.InFlight() {
					if r := t.Data.(*run); r.task != nil {
						r.task.Retries = 0
					}
				}
			}
			d.procs.Kill(w.id)
		}
	}
	d.pool.Classes(func(c *pool.Class) {
		if !uses(c) {
			return
		}
		n, _ := d.queued(c)
		for _, r := range d.takeBack(c, n, func(*run) bool { return true }) {
			d.endRun(r, outcome{lost: gone, charge: true})
		}
	})
	d.pool.ReturnBundle(b.Group, b.Index, d.now())
}
