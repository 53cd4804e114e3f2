package node

import (
	"time"

	"ray/node/proc"
)

// keptWorkers bounds the ended processes that the state API still knows, on each node.
const keptWorkers = 1000

// Why a process ended, in upstream's words.
const (
	exitSystemError    = "SYSTEM_ERROR"
	exitIntendedUser   = "INTENDED_USER_EXIT"
	exitIntendedSystem = "INTENDED_SYSTEM_EXIT"
	exitUserError      = "USER_ERROR"
	exitOutOfMemory    = "NODE_OUT_OF_MEMORY"
)

// endedWorker is a worker or driver whose process is over.
type endedWorker struct {
	id           string
	kind         string
	pid          int
	start, end   int64 // ms
	exit, detail string
}

// endedWorkers keeps the newest of them.
type endedWorkers struct{ newest[endedWorker] }

func (e *endedWorkers) add(w endedWorker) {
	w.end = time.Now().UnixMilli()
	e.keep(w, keptWorkers)
}

// workerEndedRow keeps how a worker ended.
func (d *daemon) workerEndedRow(w *worker, e *proc.Exit) {
	exit, detail := exitOf(w, e)
	d.ended.add(endedWorker{id: w.id.String(), kind: "WORKER", pid: w.pid, start: w.start, exit: exit, detail: detail})
}

// driverEndedRow keeps how a driver ended.
func (d *daemon) driverEndedRow(c *client) {
	exit, detail := exitSystemError, "The driver's connection has ended without a word: its process has died, or has no way here any more."
	if c.finished {
		exit, detail = exitIntendedUser, "The driver has finished: ray.shutdown() was called, or its program has ended."
	}
	d.ended.add(endedWorker{id: c.id, kind: "DRIVER", pid: c.hello.PID, start: c.start, exit: exit, detail: detail})
}

// exitOf tells why a worker ended. What this node has done to it counts before how the process went.
func exitOf(w *worker, e *proc.Exit) (exit, detail string) {
	a := w.actor
	switch {
	case w.oom:
		return exitOutOfMemory, "The worker was ended because the " + w.killed + "."
	case a != nil && a.initFail:
		if a.cause != nil {
			return exitUserError, a.cause.Message
		}
		return exitUserError, "The actor's constructor ended the process, which " + howEnded(e) + "."
	case w.killed == endIdle:
		return exitIntendedSystem, "The worker was ended because it was idle."
	case w.killed == endMaxCalls:
		return exitIntendedUser, "The worker has run a function as often as its max_calls says."
	case w.forced:
		return exitIntendedUser, "The worker was ended by ray.cancel: " + w.killed + "."
	case w.killed != "":
		return exitIntendedSystem, "The worker was ended because " + w.killed + "."
	case a != nil && a.intended:
		return exitIntendedUser, "The actor exited on purpose, with exit_actor() or sys.exit(): exit code 0."
	}
	detail = "The worker " + howEnded(e)
	if e != nil && e.Signal == 9 {
		detail += ", which the kernel does when memory is short (OOM), and some other processes may do"
	}
	return exitSystemError, detail + "." + stderrOf(e)
}

// endedRows lists them for the state API.
func (d *daemon) endedRows(add func(map[string]any), row func(id any, kind string, pid int, start int64) map[string]any) {
	for i := range d.ended.rows {
		w := &d.ended.rows[i]
		out := row(w.id, w.kind, w.pid, w.start)
		out["is_alive"], out["end_time_ms"] = false, w.end
		out["exit_type"], out["exit_detail"] = w.exit, w.detail
		add(out)
	}
}
