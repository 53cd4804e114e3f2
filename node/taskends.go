package node

import (
	"cmp"
	"time"

	"ray/internal/spec"
	"ray/node/owner"
)

// eventRing keeps the ends of tasks for the state API, newest last.
type eventRing struct{ newest[ended] }

// newest keeps the last of what it is given, in no certain order.
type newest[T any] struct {
	rows []T
	next int
}

// keep takes x, and drops the oldest if there would be more than most.
func (n *newest[T]) keep(x T, most int) {
	if len(n.rows) < most {
		n.rows = append(n.rows, x)
		return
	}
	n.rows[n.next] = x
	n.next = (n.next + 1) % most
}

// ended is a finished attempt, compact: rows are made when somebody asks.
type ended struct {
	id, parent spec.TaskID
	tmpl       *owner.Template
	attempt    int
	node       spec.NodeID // zero: this one
	repr       string      // of its actor, if its class has one
	worker     spec.WorkerID
	pid        int
	created    int64 // ms; 0: not known here
	start, end int64
	failed     bool
	err        *spec.ErrorInfo
	cancelled  bool
	// interrupted: of a task that ran. Its state is FINISHED, as upstream's is: its process has gone through to its end.
	interrupted bool
}

const keptEnds = 10_000

func (e *eventRing) add(d *daemon, r *run, o *outcome) {
	x := ended{id: r.spec.ID, parent: r.spec.Parent, tmpl: r.spec.Tmpl, attempt: r.attempt, start: r.started, end: time.Now().UnixMilli(), err: cmp.Or(o.lost, o.why)}
	if x.err == nil && r.raised != "" {
		x.err = &spec.ErrorInfo{Message: r.raised}
	}
	x.failed = o.lost != nil || o.status == owner.StatusError || o.status == owner.StatusRetry
	x.cancelled = o.status == owner.StatusCancelled || o.lost != nil && r.Task.Cancelled
	x.interrupted = x.cancelled && len(o.results) > 0 && r.spec.Kind == owner.KindTask
	if why := d.endedWithJob(r.spec.ID, r.spec.Tmpl); why != nil && (x.cancelled || o.lost != nil) {
		x.err, x.failed, x.cancelled, x.interrupted = why, true, false, false
	}
	if r.task != nil {
		x.created = r.task.Created
	}
	x.repr = r.reprName()
	if r.actor != nil && r.actor.worker != nil {
		x.worker, x.pid = r.actor.worker.id, r.actor.worker.pid
	} else if r.last != nil {
		x.worker, x.pid = r.last.id, r.last.pid
	}
	e.keep(x, keptEnds)
}

// failed keeps the end of a task that no process has ended.
func (e *eventRing) failed(d *daemon, t *owner.Task, why *spec.ErrorInfo) {
	if over := d.endedWithJob(t.ID, t.Tmpl); over != nil {
		why = over
	}
	e.keep(ended{id: t.ID, parent: t.Parent, tmpl: t.Tmpl, attempt: t.Attempt, created: t.Created, end: time.Now().UnixMilli(), err: why,
		failed: true, cancelled: why.Type == "TaskCancelledError"}, keptEnds)
}

// lost keeps the end of an attempt on a node that has died.
func (e *eventRing) lost(t *owner.Task, why *spec.ErrorInfo, node spec.NodeID) {
	e.keep(ended{id: t.ID, parent: t.Parent, tmpl: t.Tmpl, attempt: t.Attempt, node: node, created: t.Created, end: time.Now().UnixMilli(), err: why, failed: true}, keptEnds)
}

// endedWithJob is why a task of a job that is over was ended, or nil.
func (d *daemon) endedWithJob(id spec.TaskID, t *owner.Template) *spec.ErrorInfo {
	if j := d.jobs[id.JobID()]; j == nil || !j.dead || t.Outlives() {
		return nil
	}
	return &spec.ErrorInfo{Type: "WorkerCrashedError", Message: "Job finishes (" + id.JobID().String() + "): its driver is gone, and with it the tasks that had not ended."}
}
