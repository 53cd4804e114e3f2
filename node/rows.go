package node

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
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
	x.repr = r.reprName()
	if r.actor != nil && r.actor.worker != nil {
		x.worker, x.pid = r.actor.worker.id, r.actor.worker.pid
	} else if r.last != nil {
		x.worker, x.pid = r.last.id, r.last.pid
	}
	e.keep(x, keptEnds)
}

// failed keeps the end of a task that no process has ended.
func (e *eventRing) failed(t *owner.Task, why *spec.ErrorInfo) {
	if t.Kind == owner.KindCreate {
		return // its row is the actor's
	}
	e.keep(ended{id: t.ID, parent: t.Parent, tmpl: t.Tmpl, attempt: t.Attempt, end: time.Now().UnixMilli(), err: why,
		failed: true, cancelled: why.Type == "TaskCancelledError"}, keptEnds)
}

// lost keeps the end of an attempt on a node that has died.
func (e *eventRing) lost(t *owner.Task, why *spec.ErrorInfo, node spec.NodeID) {
	e.keep(ended{id: t.ID, parent: t.Parent, tmpl: t.Tmpl, attempt: t.Attempt, node: node, end: time.Now().UnixMilli(), err: why, failed: true}, keptEnds)
}

// raisedBytes bounds the text that is kept of an exception: its end, where the message is.
const raisedBytes = 2000

// taskRaised keeps what a task's code has raised, until the attempt ends.
func (d *daemon) taskRaised(c *client, text []byte) error {
	var in struct {
		TaskID spec.TaskID `json:"task_id"`
		Text   string      `json:"text"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	if r := d.runs[in.TaskID]; r != nil && c.worker != nil && r.worker() == c.worker {
		r.raised = strings.ToValidUTF8(in.Text[max(0, len(in.Text)-raisedBytes):], "")
	}
	return nil
}

// query lists rows for the state API.
func (d *daemon) query(q wire.Query) wire.QueryReply {
	if q.Limit <= 0 {
		q.Limit = 10_000
	}
	var reply wire.QueryReply
	reply.Rows = []map[string]any{}
	add := func(row map[string]any) {
		reply.Total++
		if len(reply.Rows) < q.Limit {
			reply.Rows = append(reply.Rows, row)
		}
	}
	switch q.Kind {
	case "tasks":
		d.taskRows(add)
	case "objects":
		d.objectRows(add)
	case "object_stores":
		add(d.storeRow())
	case "workers":
		d.workerRows(add)
	case "runtime_envs":
		d.envRows(add)
	}
	return reply
}

func taskType(id spec.TaskID, kind string) string {
	switch kind {
	case spec.KindActorCreate:
		return "ACTOR_CREATION_TASK"
	case spec.KindActorCall:
		return "ACTOR_TASK"
	}
	return "NORMAL_TASK"
}

// shortName is the function's or method's name without its module.
func shortName(t *owner.Template) string {
	parts := strings.Split(t.Function, ".")
	keep := 1
	if t.Kind != spec.KindTask {
		keep = 2
	}
	return strings.Join(parts[max(0, len(parts)-keep):], ".")
}

func (d *daemon) taskRow(id, parent spec.TaskID, t *owner.Template, attempt int, state string) map[string]any {
	row := map[string]any{
		"task_id": id, "attempt_number": attempt, "name": t.Name, "func_or_class_name": shortName(t), "state": state,
		"job_id": id.JobID(), "type": taskType(id, t.Kind), "parent_task_id": parent, "node_id": nil, "worker_id": nil, "worker_pid": nil,
		"actor_id": nil, "error_type": nil, "error_message": nil, "required_resources": t.Resources.Floats(), "language": "PYTHON",
		"label_selector": t.LabelSelector,
	}
	if id.IsActorTask() {
		row["actor_id"] = id.ActorID()
	}
	if t.Unlisted || d.untraced {
		row["unlisted"] = true
	}
	return row
}

func (d *daemon) taskRows(add func(map[string]any)) {
	for i := range d.events.rows {
		e := &d.events.rows[i]
		state := "FINISHED"
		if e.failed || e.cancelled && !e.interrupted {
			state = "FAILED"
		}
		row := d.taskRow(e.id, e.parent, e.tmpl, e.attempt, state)
		row["name"], row["node_id"], row["end_time_ms"] = callName(e.tmpl, e.repr), cmp.Or(e.node, d.self), e.end
		if e.start != 0 { // 0: it could not begin
			row["creation_time_ms"], row["start_time_ms"] = e.start, e.start
		}
		if e.pid != 0 {
			row["worker_id"], row["worker_pid"] = e.worker, e.pid
		}
		switch {
		case e.cancelled:
			row["error_type"] = "TASK_CANCELLED"
			if e.err != nil {
				row["error_message"] = e.err.Message
			}
		case e.err != nil:
			row["error_type"], row["error_message"] = errorType(e.err.Type), e.err.Message
		case e.failed:
			row["error_type"] = "TASK_EXECUTION_EXCEPTION"
		}
		add(row)
	}
	queued := d.queuedCalls()
	for id, r := range d.runs {
		state := "PENDING_NODE_ASSIGNMENT"
		switch {
		case r.missing > 0:
			state = "PENDING_ARGS_FETCH"
		case r.started != 0 && !queued[r]:
			state = "RUNNING"
		case r.spec.Kind == owner.KindCall:
			state = "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY"
		}
		row := d.taskRow(id, r.spec.Parent, r.spec.Tmpl, r.attempt, state)
		row["name"], row["node_id"] = callName(r.spec.Tmpl, r.reprName()), d.self
		if r.started != 0 {
			row["start_time_ms"], row["creation_time_ms"] = r.started, r.started
		}
		row["reason"] = orNil(d.whyRun(r))
		if w := r.worker(); w != nil {
			row["worker_id"], row["worker_pid"] = w.id, w.pid
			if w.pw != nil && w.pw.Blocked() {
				row["state"] = "RUNNING_IN_RAY_GET"
			}
		}
		add(row)
	}
	d.own.Tasks(func(t *owner.Task) bool {
		if d.runs[t.ID] != nil || t.State == owner.TaskDone || (!t.Node.IsZero() && t.Node != d.self) {
			return true
		}
		state := "PENDING_ARGS_AVAIL"
		if t.State == owner.TaskReady {
			state = "PENDING_NODE_ASSIGNMENT"
		}
		row := d.taskRow(t.ID, t.Parent, t.Tmpl, t.Attempt, state)
		row["reason"] = orNil(d.whyTask(t))
		add(row)
		return true
	})
}

func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// worker is the process that a run is in, or nil.
func (r *run) worker() *worker {
	if r.actor != nil {
		return r.actor.worker
	}
	if r.Task.Worker != nil {
		w, _ := r.Task.Worker.Data.(*worker)
		return w
	}
	return nil
}

func errorType(name string) string {
	switch name {
	case "WorkerCrashedError":
		return "WORKER_DIED"
	case "NodeDiedError":
		return "NODE_DIED"
	case "ActorDiedError":
		return "ACTOR_DIED"
	case "ActorUnavailableError":
		return "ACTOR_UNAVAILABLE"
	case "OutOfMemoryError":
		return "OUT_OF_MEMORY"
	case "TaskCancelledError":
		return "TASK_CANCELLED"
	case "RuntimeEnvSetupError":
		return "RUNTIME_ENV_SETUP_FAILED"
	case "TaskUnschedulableError":
		return "TASK_UNSCHEDULABLE_ERROR"
	}
	return "TASK_EXECUTION_EXCEPTION"
}

// refSites notes where a client made references.
func (d *daemon) refSites(c *client, text []byte) error {
	var in struct {
		IDs  []spec.ObjectID `json:"ids"`
		Site string          `json:"site"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	for _, id := range in.IDs {
		if o := d.own.Object(id); o != nil {
			o.Note(owner.Client(c.num), in.Site)
		}
	}
	return nil
}

// noteArgs notes that a worker has references and memory from the arguments of
// a task.
func (d *daemon) noteArgs(c *client, r *run) {
	what := "task"
	if r.spec.Kind != owner.KindTask {
		what = "actor task"
	}
	const given = "(deserialize "
	site := given + what + " arg) " + r.spec.Tmpl.Name
	note := func(ref spec.Ref) *owner.Object {
		o := d.own.Object(ref.ID)
		if o != nil {
			// What the process has made itself says so; of what it was given the last counts.
			if had := o.Site(owner.Client(c.num)); had == "" || strings.HasPrefix(had, given) {
				o.Note(owner.Client(c.num), site)
			}
		}
		return o
	}
	for _, ref := range r.spec.Deps {
		if o := note(ref); o != nil {
			for _, inside := range o.Nested {
				note(inside)
			}
		}
	}
	for _, ref := range r.spec.Refs {
		note(ref)
	}
}

func (d *daemon) workerRows(add func(map[string]any)) {
	row := func(id any, typ string, pid int, start int64) map[string]any {
		return map[string]any{"worker_id": id, "is_alive": true, "worker_type": typ, "exit_type": nil, "exit_detail": nil, "node_id": d.self,
			"ip": d.cfg.NodeIP, "pid": pid, "start_time_ms": start, "worker_launch_time_ms": start, "worker_launched_time_ms": start, "end_time_ms": 0}
	}
	for _, w := range d.workers {
		add(row(w.id, "WORKER", w.pid, w.start))
	}
	for _, c := range d.clients {
		if c.worker == nil {
			add(row(c.id, "DRIVER", c.hello.PID, c.start))
		}
	}
	d.endedRows(add, row)
}
