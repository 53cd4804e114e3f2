package node

import (
	"log/slog"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/pool"
	"ray/node/proc"
	"ray/node/runtimeenv"
)

// withoutHead is a daemon that can start nothing and knows one job.
func withoutHead(t *testing.T, id spec.JobID) *daemon {
	d := newDaemon(t.Context(), Config{Log: slog.New(slog.DiscardHandler)})
	d.pool = pool.New(spec.Resources{spec.CPU: spec.FixedScale})
	d.procs = proc.New(proc.Config{LogDir: t.TempDir()})
	d.envMaker = runtimeenv.New(runtimeenv.Config{Dir: t.TempDir()})
	d.jobs[id] = &job{id: id}
	t.Cleanup(func() {
		d.stop(errShutdown)
		d.tasks.Wait()
		d.procs.Close()
		d.envMaker.Close()
	})
	return d
}

// greeted is the client of a worker that has said HELLO.
func greeted(t *testing.T, d *daemon, job spec.JobID) *client {
	w := &worker{id: spec.NewWorkerID(), key: pool.Key{Job: job}}
	d.workers[w.id] = w
	c := &client{num: 7, id: w.id.String(), slot: -1, hello: wire.Hello{Role: "worker", ClientID: w.id.String()}}
	if err := d.findWorker(c); err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	c.conn, c.out = near, wire.NewOut(near)
	t.Cleanup(func() { _ = c.out.Close(0) })
	d.byID[c.id] = c
	return c
}

func TestAWorkerWhoseProcessEndsWhileItConnectsGetsNoTasks(t *testing.T) {
	id := spec.JobID{1}
	d := withoutHead(t, id)
	c := greeted(t, d, id)
	d.onExit(proc.Exit{ID: c.worker.id, PID: 1 << 30, Signal: int(syscall.SIGKILL)})
	var err error
	d.locked(func() { err = d.join(c) })
	if err == nil {
		t.Error("the worker is welcome, and what it is given waits for ever")
	}
	if d.pool.Worker(c.worker.id) != nil || d.byID[c.id] != nil || len(d.clients) > 0 {
		t.Error("something is left of the worker")
	}
}

// The answer to the first connection is read, and the second is made, before
// the daemon counts the first as served, or after.
func TestAWorkerGetsTasksWhenBothOfItsConnectionsAreThere(t *testing.T) {
	for _, controlFirst := range []bool{false, true} {
		id := spec.JobID{1}
		d := withoutHead(t, id)
		c := greeted(t, d, id)
		steps := []func(){
			func() {
				if err := d.join(c); err != nil {
					t.Error(err)
				}
			},
			func() { d.controlJoined(c, c.out) },
		}
		if controlFirst {
			steps[0], steps[1] = steps[1], steps[0]
		}
		var half, whole bool
		d.locked(func() {
			steps[0]()
			half = d.pool.Worker(c.worker.id) != nil
			steps[1]()
			whole = d.pool.Worker(c.worker.id) != nil
		})
		if half || !whole {
			t.Errorf("control first: %v; with one connection it gets tasks: %v, with both: %v", controlFirst, half, whole)
		}
	}
}

func TestTheReportOfAWorkersEndMayComeLate(t *testing.T) {
	for _, late := range []time.Duration{2 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			id := spec.JobID{1}
			d := withoutHead(t, id)
			c := greeted(t, d, id)
			w := c.worker
			d.locked(func() {
				if err := d.join(c); err != nil {
					t.Fatal(err)
				}
				d.controlJoined(c, c.out)
				d.workerGone(w)
			})
			d.after(late, func() { d.onExit(proc.Exit{ID: w.id, PID: 1 << 30, Code: 3}) })
			after := func(pause time.Duration) (dead bool) {
				time.Sleep(pause)
				d.locked(func() { dead = w.dead && d.pool.Worker(w.id) == nil })
				return dead
			}
			if dead := after(late - time.Second); dead != (late > time.Minute) {
				t.Errorf("the report takes %v, and a second before it comes the worker counts as ended: %v", late, dead)
			}
			if !after(2 * time.Second) {
				t.Error("the worker is not given up")
			}
		})
	}
}
