package node

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"ray/internal/spec"
	"ray/node/owner"
)

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
		"label_selector": t.LabelSelector, "placement_group_id": nil,
	}
	if pg := t.Strategy.PlacementGroup; !pg.IsZero() {
		row["placement_group_id"] = pg
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
		timeline(row, e.created, e.start, e.end)
		if e.pid != 0 {
			row["worker_id"], row["worker_pid"] = e.worker, e.pid
			row["task_log_info"] = d.logFiles(e.worker, e.id.JobID(), e.pid)
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
		var created int64
		if r.task != nil {
			created = r.task.Created
		}
		timeline(row, created, r.started, 0)
		row["reason"] = orNil(d.whyRun(r))
		if w := r.worker(); w != nil {
			row["worker_id"], row["worker_pid"] = w.id, w.pid
			row["task_log_info"] = d.logFiles(w.id, id.JobID(), w.pid)
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
		timeline(row, t.Created, 0, 0)
		row["reason"] = orNil(d.whyTask(t))
		add(row)
		return true
	})
}

// timeline puts into a row when the task was submitted, began and ended (ms; 0: not known, or not yet).
func timeline(row map[string]any, created, start, end int64) {
	events := []map[string]any{}
	add := func(column, state string, ms int64) {
		if ms != 0 {
			row[column] = ms
			events = append(events, map[string]any{"state": state, "created_ms": ms})
		}
	}
	add("creation_time_ms", "PENDING_ARGS_AVAIL", cmp.Or(created, start))
	add("start_time_ms", "RUNNING", start)
	add("end_time_ms", row["state"].(string), end)
	row["events"] = events
}

// logFiles are the files with what a worker of a job prints.
func (d *daemon) logFiles(w spec.WorkerID, job spec.JobID, pid int) map[string]any {
	base := filepath.Join(d.cfg.SessionDir, "logs", fmt.Sprintf("worker-%s-%s-%d", w, job, pid))
	return map[string]any{"stdout_file": base + ".out", "stderr_file": base + ".err"}
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
