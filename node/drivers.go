package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ray/internal/logfile"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/machine"
	"ray/node/proc"
	"ray/node/runtimeenv"
)

// driverRun starts the entrypoint of a submitted job. It holds the resources
// that were asked for it until it ends.
func (d *daemon) driverRun(ctx context.Context, r *wire.Request) (any, []byte, error) {
	var in wire.DriverRun
	if err := r.Decode(&in); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	held, err := d.pool.Hold(in.Resources)
	d.beat()
	if err == nil {
		d.driverStarts[in.SubmissionID] = cancel
		defer d.locked(func() { delete(d.driverStarts, in.SubmissionID) })
	}
	d.mu.Unlock()
	if err != nil {
		return nil, nil, &spec.ErrorInfo{Type: wire.ErrNodeBusy, Message: err.Error()}
	}
	release := func() {
		d.envMaker.Release(in.SubmissionID)
		d.locked(func() {
			d.pool.Release(held, d.now())
			d.beatChanged = true
			d.wakeTicker()
		})
	}
	d.goes(func() { d.tellProgress(ctx, in.SubmissionID) })
	child, err := d.startDriver(ctx, in, d.cfg.deviceNames(held.Devices()))
	cancel()
	if err != nil {
		release()
		return nil, nil, err
	}
	d.mu.Lock()
	d.drivers[in.SubmissionID] = child
	d.mu.Unlock()
	d.goes(func() {
		<-child.Done()
		release()
		d.driverEnded(in.SubmissionID, child.Exit())
	})
	return wire.DriverStarted{SubmissionID: in.SubmissionID, PID: child.PID}, nil, nil
}

// tellProgress tells the head what an entrypoint waits for, until ctx ends.
func (d *daemon) tellProgress(ctx context.Context, id string) {
	tick := time.NewTicker(driverNews)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if text, _ := d.envMaker.Progress(id); text != "" && text != said {
			said = text
			d.locked(func() { d.head.notify(wire.MethodDriverProgress, wire.DriverProgress{SubmissionID: id, Text: text}) })
		}
	}
}

// driverNews is how often the head is told what an entrypoint waits for.
const driverNews = 2 * time.Second

// driverEnded tells the head how an entrypoint ended.
func (d *daemon) driverEnded(id string, e proc.Exit) {
	out := wire.DriverExited{SubmissionID: id, ExitCode: e.Code, Signal: e.Signal}
	// A shell whose child was killed exits with 128 + the signal.
	kill := int(syscall.SIGKILL)
	killed, kills := e.Signal == kill || e.Code == 128+kill, machine.OOMKills()
	d.locked(func() {
		out.OutOfMemory = killed && d.oomKills.Explain(time.Now(), kills)
		delete(d.drivers, id)
		d.head.tell(wire.MethodDriverExited, out)
	})
}

// startDriver makes the entrypoint's environment and its process.
func (d *daemon) startDriver(ctx context.Context, in wire.DriverRun, devices map[string][]string) (*proc.Child, error) {
	python := ""
	if len(d.cfg.Pythons) > 0 {
		python = d.cfg.Pythons[0]
	}
	env, err := d.envMaker.Ensure(ctx, runtimeenv.Request{Env: in.RuntimeEnv, Holder: in.SubmissionID, Job: in.SubmissionID, Python: python})
	if err != nil {
		return nil, err
	}
	set := map[string]string{"RAY_ADDRESS": d.cfg.HeadAddress, "RAY_JOB_SUBMISSION_ID": in.SubmissionID}
	for _, m := range []map[string]string{env.ServerVars, env.Vars, in.Env} {
		for k, v := range m {
			set[k] = v
		}
	}
	maps.Copy(set, spec.DeviceEnv(devices, d.cfg.GPUVariable))
	path := append([]string{d.cfg.PackageDir}, env.SysPath...)
	if old := set["PYTHONPATH"]; old != "" {
		path = append(path, old)
	} else if old := os.Getenv("PYTHONPATH"); old != "" {
		path = append(path, old)
	}
	set["PYTHONPATH"] = strings.Join(path, string(os.PathListSeparator))
	if env.Bin == "" && python != "" {
		set["PATH"] = filepath.Dir(python) + string(os.PathListSeparator) + os.Getenv("PATH")
	}
	c := proc.Command{ID: in.SubmissionID, Line: in.Entrypoint, Dir: env.Cwd, Env: os.Environ(),
		LogPath: filepath.Join(d.cfg.SessionDir, "logs", driverLog(in.SubmissionID)),
		Heading: fmt.Sprintf("Running entrypoint for job %s: %s", in.SubmissionID, in.Entrypoint)}
	for k, v := range set {
		c.Env = append(c.Env, k+"="+v)
	}
	child, err := d.procs.Run(c)
	if err != nil {
		return nil, fmt.Errorf("the entrypoint could not be started: %w", err)
	}
	return child, nil
}

func (d *daemon) driverStop(_ context.Context, r *wire.Request) (any, []byte, error) {
	var in wire.DriverStop
	if err := r.Decode(&in); err != nil {
		return nil, nil, err
	}
	d.locked(func() {
		if cancel := d.driverStarts[in.SubmissionID]; cancel != nil {
			cancel()
		}
	})
	d.procs.Stop(in.SubmissionID, time.Duration(in.GraceMS)*time.Millisecond)
	return nil, nil, nil
}

func driverLog(id string) string { return "job-driver-" + id + ".log" }

// driverForget removes the output of an entrypoint that has ended.
func (d *daemon) driverForget(_ context.Context, r *wire.Request) (any, []byte, error) {
	var in wire.DriverForget
	if err := r.Decode(&in); err != nil {
		return nil, nil, err
	}
	path, err := d.logPath(driverLog(in.SubmissionID))
	if err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	runs := d.drivers[in.SubmissionID] != nil
	d.mu.Unlock()
	if runs {
		return nil, nil, fmt.Errorf("the entrypoint of %s still runs", in.SubmissionID)
	}
	if err := logfile.Remove(path); err != nil {
		return nil, nil, err
	}
	return nil, nil, d.envMaker.Forget(in.SubmissionID)
}
