package node

import (
	"fmt"
	"strings"
	"time"

	"ray/internal/spec"
	"ray/node/owner"
	"ray/node/pool"
)

// whyTask says why a task that is owned here has not been given to a worker:
// it waits for arguments, for its actor, or for a node.
func (d *daemon) whyTask(t *owner.Task) string {
	if t.State != owner.TaskWaiting && t.Kind != owner.KindTask {
		return d.whyActor(t.ID.ActorID())
	}
	if t.State == owner.TaskReady {
		if row := d.rowOf(t); row != nil {
			if row.reason != "" {
				return row.reason
			}
			return "the head is being asked for a node"
		}
		return "it is on its way to a node"
	}
	if why := d.whyArgs(t.Deps); why != "" {
		return why
	}
	if t.Kind == owner.KindCall {
		return d.whyActor(t.ID.ActorID())
	}
	return ""
}

// rowOf is the row of those that want a place elsewhere that a task is in.
func (d *daemon) rowOf(t *owner.Task) *awayRow {
	c, _ := t.Tmpl.Class.(*class)
	if c == nil {
		return nil
	}
	return d.away[c.row]
}

// whyArgs names the first of the arguments that do not exist yet.
func (d *daemon) whyArgs(deps []spec.Ref) string {
	missing, first := 0, ""
	for _, dep := range deps {
		o := d.own.Object(dep.ID)
		if o != nil && o.Known() {
			continue
		}
		if missing++; first != "" {
			continue
		}
		first = "object " + dep.ID.String()
		if o == nil {
			continue
		}
		if t := o.Creator(); t != nil && t.State != owner.TaskDone {
			first += ", which task " + t.Tmpl.Name + " (" + t.ID.String() + ") makes"
		}
	}
	if missing == 0 {
		return ""
	}
	return fmt.Sprintf("%d of its %d arguments %s not made yet, the first is %s", missing, len(deps), plural(missing, "is", "are"), first)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func (d *daemon) whyActor(id spec.ActorID) string {
	a := d.own.Actor(id)
	if a == nil {
		return ""
	}
	switch a.State {
	case spec.ActorAlive:
		return "calls before it have not ended"
	case spec.ActorDead:
		return "its actor is dead"
	}
	text := "its actor is not there yet (" + a.State + ")"
	if a.State == "" {
		text = "its actor is being created"
	}
	if a.Info.Reason != "" {
		text += ": " + a.Info.Reason
	}
	return text
}

// whyRun says why a run on this node has not begun.
func (d *daemon) whyRun(r *run) string {
	switch {
	case r.started != 0:
		return ""
	case r.late:
		return "it waits for room for its arguments: those of the tasks before it take half of the object store"
	case r.missing > 0:
		return d.whyFetch(r)
	case r.spec.Kind == owner.KindCall:
		return "calls before it have not ended"
	case r.Task.Queued():
		return d.whyQueued(&r.Task)
	case r.Task.Worker != nil:
		return "it is next at a worker, behind a task that runs"
	}
	return ""
}

// whyFetch names the first of the arguments that are being brought here.
func (d *daemon) whyFetch(r *run) string {
	for _, dep := range r.spec.Deps {
		o := d.own.Object(dep.ID)
		if o != nil && (o.Where == owner.Inline || o.Where == owner.Arena) {
			continue
		}
		if o == nil || len(o.Locs) == 0 {
			return fmt.Sprintf("%d of its arguments are being brought here, object %s first", r.missing, dep.ID)
		}
		return fmt.Sprintf("%d of its arguments are being brought here: object %s (%.1f MB) from node %s first", r.missing, dep.ID, float64(o.Size)/1e6, d.nodes[o.Locs[0]].Address)
	}
	return "its arguments are being brought into memory"
}

// whyQueued is for tasks in this node's own queue.
func (d *daemon) whyQueued(t *pool.Task) string {
	c := t.Class
	if env := c.Key.Env; env != "" {
		for _, e := range d.envMaker.Making() {
			return "its runtime environment is being built here: " + e.Title + ", " + e.Progress
		}
	}
	first := t
	if f := c.First(); f != nil {
		first = f
	}
	since := time.Duration(d.now()-first.Queue) * time.Microsecond
	lacks := d.pool.Lacks(c)
	if len(lacks) == 0 {
		return "a worker process is being started for it here"
	}
	text := fmt.Sprintf("this node (%s) has %s for %s", d.cfg.NodeIP, strings.Join(lacks, " and "), roundTime(since))
	if n := len(d.hosted); n > 0 {
		text += fmt.Sprintf("; %d %s and %d %s here", n, plural(n, "actor lives", "actors live"), d.pool.Running(), plural(d.pool.Running(), "task runs", "tasks run"))
	}
	if ahead := c.Queued() - 1; ahead > 0 {
		text += fmt.Sprintf("; %d more of its kind wait", ahead)
	}
	return text
}

// roundTime leaves out digits that nobody reads.
func roundTime(t time.Duration) string {
	if t < time.Second {
		return t.Round(10 * time.Millisecond).String()
	}
	return t.Round(time.Second).String()
}
