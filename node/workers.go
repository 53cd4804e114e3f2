package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/machine"
	"ray/node/owner"
	"ray/node/pool"
	"ray/node/proc"
	"ray/node/runtimeenv"
)

// startWorker asks for a process for the key. The environment is prepared
// first, outside the lock.
func (d *daemon) startWorker(k pool.Key) {
	j := d.jobs[k.Job]
	if j == nil || j.dead && k.Root.IsZero() || d.down {
		// What came back from a worker after its job's end must not ask again.
		d.dropQueued(k)
		d.pool.StartFailed(k, d.now())
		return
	}
	info := j.info
	env := d.envs[k.Env]
	slow := !runtimeenv.Quick(env)
	if slow {
		d.pool.Waiting(1, d.now())
	}
	round := d.rounds.join(d.ctx, k)
	d.tasks.Go(func() {
		ws, err := d.workerSpec(round.ctx, info, env)
		d.locked(func() {
			current := d.rounds.current(round)
			d.rounds.leave(round)
			if slow {
				d.pool.Waiting(-1, d.now())
			}
			if err == nil {
				w := &worker{id: ws.ID, key: k, start: time.Now().UnixMilli()}
				d.workers[w.id] = w
				if err = d.procs.Start(ws); err != nil {
					delete(d.workers, w.id)
					d.envMaker.Release(w.id.String())
				}
			}
			switch {
			case err == nil:
			case current:
				d.startFailed(k, err)
			default: // its tasks have heard of an earlier failure
				d.pool.StartFailed(k, d.now())
			}
		})
	})
}

// dropQueued ends the tasks that wait for a worker of a job that has ended.
func (d *daemon) dropQueued(k pool.Key) {
	for _, t := range d.pool.FailKey(k) {
		r := t.Data.(*run)
		info := &spec.ErrorInfo{Type: "TaskCancelledError", Message: "task " + r.spec.Tmpl.Name + " belongs to a job that has ended"}
		d.endRun(r, withoutRun(info))
	}
}

// startFailed ends the tasks that no worker can be had for.
func (d *daemon) startFailed(k pool.Key, err error) {
	if d.down {
		return // this node ends: others run what waits here
	}
	d.log.Warn("worker could not be started", "job", k.Job, "err", err)
	if r := d.rounds[k]; r != nil {
		d.rounds.end(r)
	}
	info := wire.InfoOf(err)
	if info.Type == "RaySystemError" {
		info = &spec.ErrorInfo{Type: "RuntimeEnvSetupError", Message: "no worker could be started: " + err.Error()}
	}
	for _, t := range d.pool.FailKey(k) {
		r := t.Data.(*run)
		if r.spec.Kind == owner.KindCreate {
			if h := d.hosted[r.spec.ID.ActorID()]; h != nil {
				h.cause = d.actorDied(h, info.Message)
				h.cause.Type = info.Type
			}
		}
		d.endRun(r, withoutRun(info))
	}
	d.pool.StartFailed(k, d.now())
}

// baseEnv is what every worker has in its environment.
func (d *daemon) baseEnv() map[string]string {
	env := map[string]string{
		"RAY_ADDRESS":     d.cfg.HeadAddress,
		"RAY_SESSION_DIR": d.cfg.SessionDir,
		"RAY_NODE_ID":     d.self.String(),
		"RAY_RAYLET_PID":  strconv.Itoa(os.Getpid()), // as upstream: programs watch their node's daemon by it
		"RAY_TMPDIR":      d.cfg.TmpDir,
	}
	d.locked(func() {
		if d.modules != "" {
			env["RAY_PRELOAD_PYTHON_MODULES"] = d.modules
		}
	})
	return env
}

// findWorker matches a worker's HELLO with the process that was started.
func (d *daemon) findWorker(c *client) error {
	var id spec.WorkerID
	if err := id.UnmarshalText([]byte(c.hello.ClientID)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.workers[id]
	if w == nil || w.client != nil {
		return &spec.ErrorInfo{Type: "ConnectionError", Message: "no worker " + id.String() + " was started here"}
	}
	c.job = d.jobs[w.key.Job]
	if c.job == nil || c.job.dead && w.key.Root.IsZero() {
		return &spec.ErrorInfo{Type: "ConnectionError", Message: "the worker's job has ended"}
	}
	c.worker = w
	if w.pid == 0 {
		w.pid = c.hello.PID
	}
	return nil
}

// workerConnected gives a worker to the pool once both of its connections are
// there, in whatever order they came: a task would be lost without the first, a
// recall, a cancel or an exit without the second.
func (d *daemon) workerConnected(c *client) {
	w := c.worker
	if w.client != c || c.ctl == nil || w.pw != nil {
		return
	}
	delete(d.startTries, w.key)
	w.pw = d.pool.Started(w.id, w.key, d.now())
	w.pw.Data = w
}

func (d *daemon) onForked(id spec.WorkerID, pid int) {
	d.locked(func() {
		if w := d.workers[id]; w != nil {
			w.pid = pid
		}
	})
}

// exitWorker asks a worker to end, and kills it if it does not.
func (d *daemon) exitWorker(w *worker, reason string, graceful bool) {
	if w.client == nil || w.client.ctl == nil {
		d.procs.Kill(w.id)
		return
	}
	w.client.control(wire.AppendJSON(nil, wire.TExit, wire.Exit{Reason: reason, Graceful: graceful}))
	id := w.id
	grace := 2 * time.Second
	if graceful {
		grace = 30 * time.Second
	}
	d.after(grace, func() { d.procs.Kill(id) })
}

// workerGone: the connection ended; the process follows or is made to.
func (d *daemon) workerGone(w *worker) {
	begun := d.begunSeq(w.client)
	d.procs.Signal(w.id, syscall.SIGTERM)
	id := w.id
	d.after(leaveGrace, func() { d.procs.Kill(id) })
	c := w.client
	w.client = nil
	unfinished := map[spec.TaskID]bool{}
	if w.pw != nil {
		d.pool.Lost(w.pw)
		for _, t := range w.pw.InFlight() {
			if t.Seq == begun || w.pw.State == pool.Actor {
				unfinished[t.Data.(*run).spec.ID] = true
			}
		}
	}
	if w.actor != nil && !w.actor.left {
		for _, r := range w.actor.calls {
			unfinished[r.spec.ID] = true
		}
	}
	d.endChildren(w, c)
	d.readerGone(c.num, func(t spec.TaskID) bool { return unfinished[t] })
	w.begun, w.lostConn = begun, true
	if w.exit != nil {
		d.workerEnded(w, w.exit)
		return
	}
	// The exit report tells why; do not wait for it for ever.
	d.after(leaveGrace+reportGrace, func() { d.locked(func() { d.workerEnded(w, nil) }) })
}

const (
	// leaveGrace is how long a process may outlive its connection.
	leaveGrace = 3 * time.Second
	// reportGrace is how long the report of its end may then take: on a machine
	// with too much to do, the fork server comes to it late, and the rest of
	// the output is awaited. Without it, nothing is known of how it ended.
	reportGrace = 5 * time.Second
)

// onExit is the process manager's report.
func (d *daemon) onExit(e proc.Exit) {
	d.envMaker.Release(e.ID.String())
	var kills uint64
	if e.Signal == int(syscall.SIGKILL) {
		kills = machine.OOMKills()
	}
	d.locked(func() {
		w := d.workers[e.ID]
		if w == nil {
			return
		}
		w.kernel = e.Signal == int(syscall.SIGKILL) && w.killed == "" && d.oomKills.Explain(time.Now(), kills)
		if e.PID == 0 || (w.client == nil && w.pw == nil) {
			delete(d.workers, e.ID)
			w.dead = true
			d.neverConnected(w, &e)
			return
		}
		w.exit = &e
		if w.lostConn {
			d.workerEnded(w, &e)
			return
		}
		// Its last frames may still be in the socket: the end of the
		// connection comes after them.
		d.after(time.Second, func() { d.locked(func() { d.closeClient(w) }) })
	})
}

func (d *daemon) closeClient(w *worker) {
	if w.client != nil {
		_ = w.client.conn.Close()
	}
}

// neverConnected: a process ended before both of its connections were there.
func (d *daemon) neverConnected(w *worker, e *proc.Exit) {
	if d.down {
		return
	}
	d.startTries[w.key]++
	if d.startTries[w.key] >= 3 {
		delete(d.startTries, w.key)
		d.startFailed(w.key, fmt.Errorf("worker process %s before it connected%s", howEnded(e), stderrOf(e)))
		return
	}
	d.pool.StartFailed(w.key, d.now())
}

func howEnded(e *proc.Exit) string {
	if e == nil {
		return "ended without a report"
	}
	return e.String()
}

func stderrOf(e *proc.Exit) string {
	if e == nil || len(e.Stderr) == 0 {
		return ""
	}
	return "; its last output was:\n" + strings.Join(e.Stderr, "\n")
}

// workerEnded deals with a worker whose connection and process are over.
func (d *daemon) workerEnded(w *worker, e *proc.Exit) {
	if w.dead {
		return
	}
	w.dead = true
	delete(d.workers, w.id)
	d.procs.Kill(w.id) // its group may have outlived it
	if d.down {
		return // the verdict on this node says what becomes of its work
	}
	if w.pw == nil {
		d.neverConnected(w, e)
		return
	}
	d.workerEndedRow(w, e)
	lost := d.pool.WorkerDead(w.pw, w.begun, d.now())
	info := d.crash(w, e)
	for _, t := range lost {
		r := t.Data.(*run)
		if r.spec.Kind == owner.KindCreate && w.actor != nil {
			if w.actor.cause == nil {
				w.actor.cause = d.actorDied(w.actor, "The actor died before its constructor had ended.\n\tcause: "+info.Message)
			}
		}
		d.endRun(r, outcome{lost: info, charge: true})
	}
	if w.actor != nil {
		d.actorGone(w.actor, info)
	}
}

// crash says how a worker ended, as the error of what it ran.
func (d *daemon) crash(w *worker, e *proc.Exit) *spec.ErrorInfo {
	how := howEnded(e)
	if w.killed != "" {
		how = "was ended by its node: " + w.killed
	}
	typ := "WorkerCrashedError"
	if w.oom {
		typ = "OutOfMemoryError"
		return &spec.ErrorInfo{Type: typ, Message: "The task was ended because the " + w.killed + "."}
	}
	if w.kernel {
		how += ", as the kernel does when memory is short (its count of such kills has just gone up): use fewer tasks at once (num_cpus, memory=), smaller data, or a larger machine"
	}
	text := fmt.Sprintf("The worker died unexpectedly while executing this task. Worker %s (pid %d) on node %s %s. Its log is %s.",
		w.id, w.pid, d.cfg.NodeIP, how, filepath.Join(d.cfg.SessionDir, "logs", fmt.Sprintf("worker-%s-%s-%d.err", w.id, w.key.Job, w.pid)))
	return &spec.ErrorInfo{Type: typ, Message: text + stderrOf(e), Fields: map[string]any{"pid": w.pid, "ip": d.cfg.NodeIP}}
}

// workerSpec prepares the environment of a worker. Not under the lock.
func (d *daemon) workerSpec(ctx context.Context, info jobInfo, env []byte) (proc.WorkerSpec, error) {
	ws := proc.WorkerSpec{ID: spec.NewWorkerID(), JobID: info.ID, Socket: d.cfg.Socket, Env: d.baseEnv()}
	h := info.Hello
	if h == nil {
		h = &wire.HelloJob{}
	}
	ws.SysPath = h.SysPath
	if info.Local || d.sameMachine(info.Driver) {
		ws.Cwd = existingDir(h.CWD)
	}
	var err error
	ws.Python, err = d.python(info)
	if err != nil {
		return ws, err
	}
	prepared, err := d.prepareEnv(ctx, ws.ID, info, env, ws.Python)
	if err != nil {
		return ws, err
	}
	maps.Copy(ws.Env, prepared.Env)
	ws.ServerEnv = prepared.ServerEnv
	ws.Unset = prepared.Unset
	if prepared.Python != "" {
		ws.Python = prepared.Python
	}
	if prepared.Cwd != "" {
		ws.Cwd = prepared.Cwd
	}
	ws.SysPath = append(prepared.SysPath, ws.SysPath...)
	return ws, nil
}
