package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/runtimeenv"
)

// version is the upstream release whose API the system keeps to.
const version = "2.60.0"

// processNumber takes one number that no other process of the cluster has.
func (d *daemon) processNumber() (uint32, error) {
	d.mu.Lock()
	if d.block.Count > 0 {
		n := d.block.Start
		d.block.Start++
		d.block.Count--
		d.mu.Unlock()
		return n, nil
	}
	d.mu.Unlock()
	var b wire.ProcessBlock
	if _, err := d.head.call(d.ctx, wire.MethodProcessBlock, struct{}{}, &b, nil); err != nil {
		return 0, err
	}
	d.mu.Lock()
	if d.block.Count == 0 {
		d.block = b
	}
	d.mu.Unlock()
	return d.processNumber()
}

// startJob announces a driver that has connected.
func (d *daemon) startJob(c *client) error {
	h := c.hello.Job
	if h == nil {
		h = &wire.HelloJob{}
	}
	if h.Namespace == "" {
		id := spec.NewWorkerID().String()
		h.Namespace = id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:32]
	}
	if err := runtimeenv.Check(h.RuntimeEnv); err != nil {
		return err
	}
	info := jobInfo{Python: c.hello.Python, Driver: d.self, Hello: h, Local: !c.remote}
	if _, err := d.python(info); err != nil && c.hello.Python != "" {
		return &spec.ErrorInfo{Type: "RuntimeError", Message: err.Error()}
	}
	ctx, cancel := context.WithTimeout(d.ctx, 30*time.Second)
	defer cancel()
	var out wire.JobStarted
	if _, err := d.head.call(ctx, wire.MethodJobStart, wire.JobStart{Job: d.jobRow(c, spec.JobID{})}, &out, nil); err != nil {
		return err
	}
	info.ID = out.JobID
	d.mu.Lock()
	defer d.mu.Unlock()
	c.job = d.job(info)
	return nil
}

func (d *daemon) jobRow(c *client, id spec.JobID) spec.Job {
	j := spec.Job{Type: "DRIVER", JobID: id, Status: spec.JobRunning, StartMS: time.Now().UnixMilli(), NodeID: d.self,
		DriverIP: d.cfg.NodeIP, DriverPID: c.hello.PID}
	if h := c.hello.Job; h != nil {
		j.Entrypoint, j.Metadata, j.RuntimeEnv, j.Namespace = h.Entrypoint, h.Metadata, h.RuntimeEnv, h.Namespace
		j.SubmissionID = h.SubmissionID
	}
	return j
}

// job finds or makes the record of a job. Under the lock.
func (d *daemon) job(info jobInfo) *job {
	j := d.jobs[info.ID]
	if j == nil {
		j = &job{id: info.ID, info: info}
		d.jobs[info.ID] = j
	}
	return j
}

// driverGone ends the job of a driver whose connection has ended.
func (d *daemon) driverGone(c *client) {
	id := c.job.id
	if c.job.driver == c {
		c.job.driver = nil
	}
	d.head.tell(wire.MethodJobFinish, wire.JobFinish{JobID: id, Reason: "its driver has disconnected"})
	d.jobFinished(id)
}

// jobFinished ends what a job has here: tasks, actors and workers, but for
// detached actors and what descends from them.
func (d *daemon) jobFinished(id spec.JobID) {
	j := d.jobs[id]
	if j != nil {
		if j.dead {
			return
		}
		j.dead = true
	}
	d.own.JobFinished(id, func(a spec.ActorID) bool { return d.detached[a] || d.isDetached(a) })
	for _, w := range d.workers {
		if w.key.Job != id || !w.key.Root.IsZero() {
			continue
		}
		w.killed = "its job has ended"
		if w.actor != nil {
			w.actor.intended = true
			w.actor.cause = d.actorDied(w.actor, "The actor is dead because its job has ended.")
		}
		d.procs.Kill(w.id)
	}
	for _, row := range d.away {
		row.tasks = deleteFunc(row.tasks, func(r *run) bool {
			return r.over || r.spec.ID.JobID() == id && r.spec.Kind == owner.KindTask && r.spec.Tmpl.Root.IsZero()
		})
	}
	if !d.hasDetached(id) {
		for k, t := range d.templates {
			if strings.HasPrefix(k, string(id[:])) && t != nil {
				delete(d.templates, k)
			}
		}
	}
}

func (d *daemon) isDetached(a spec.ActorID) bool {
	x := d.own.Actor(a)
	return x != nil && x.Info.Options.Detached
}

func (d *daemon) hasDetached(id spec.JobID) bool {
	for a := range d.detached {
		if a.JobID() == id {
			return true
		}
	}
	return false
}

func deleteFunc(rs []*run, f func(*run) bool) []*run {
	kept := rs[:0]
	for _, r := range rs {
		if !f(r) {
			kept = append(kept, r)
		}
	}
	clear(rs[len(kept):])
	return kept
}

// python chooses the interpreter for a job's workers: the first candidate of
// the driver's version. Not under the lock: it may ask an interpreter.
func (d *daemon) python(info jobInfo) (string, error) {
	if h := info.Hello; h != nil && h.Executable != "" && d.cfg.OwnerPID != 0 && !d.ofEnv(h.Executable) {
		if _, err := os.Stat(h.Executable); err == nil {
			return h.Executable, nil
		}
	}
	var have []string
	for _, p := range d.cfg.Pythons {
		v := d.pythonVersion(p)
		if v == info.Python || info.Python == "" {
			return p, nil
		}
		have = append(have, p+" ("+v+")")
	}
	if h := info.Hello; h != nil && h.Executable != "" && info.Local && info.Driver == d.self {
		if _, err := os.Stat(h.Executable); err == nil {
			return h.Executable, nil
		}
	}
	if p, err := exec.LookPath("python" + info.Python); err == nil {
		return p, nil
	}
	return "", fmt.Errorf("no Python %s on this node for the job's workers (it has: %s); start the node with --python, or use a driver of one of these versions", info.Python, strings.Join(have, ", "))
}

// pythonVersion asks an interpreter once.
func (d *daemon) pythonVersion(path string) string {
	d.pyMu.Lock()
	defer d.pyMu.Unlock()
	if v, ok := d.pyVersions[path]; ok {
		return v
	}
	ctx, cancel := context.WithTimeout(d.ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-S", "-E", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").Output()
	v := strings.TrimSpace(string(out))
	if err != nil {
		v = "unknown"
	}
	d.pyVersions[path] = v
	return v
}

// environment is a runtime environment that is ready for a worker.
type environment struct {
	Env, ServerEnv map[string]string
	Unset          []string
	Python, Cwd    string
	SysPath        []string
}

// prepareEnv makes the runtime environment of a worker, which uses it until it
// has ended.
func (d *daemon) prepareEnv(ctx context.Context, id spec.WorkerID, info jobInfo, env []byte, python string) (environment, error) {
	e, err := d.envMaker.Ensure(ctx, runtimeenv.Request{Env: env, Holder: id.String(), Job: info.ID.String(), Python: python, Version: info.Python})
	if err != nil {
		return environment{}, err
	}
	return environment{Env: e.Vars, ServerEnv: e.ServerVars, Cwd: e.Cwd, SysPath: e.SysPath, Python: e.Python}, nil
}

func (d *daemon) fetchPackage(ctx context.Context, uri string) ([]byte, error) {
	return d.head.call(ctx, wire.MethodPackageGet, wire.PackageGet{URI: uri}, nil, nil)
}

func (d *daemon) sameMachine(n spec.NodeID) bool {
	if n == d.self {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nodes[n].IP == d.cfg.NodeIP
}

func existingDir(p string) string {
	if st, err := os.Stat(p); err == nil && st.IsDir() {
		return p
	}
	return ""
}

func dirOf(p string) string { return filepath.Dir(p) }
