package node

import (
	"cmp"
	"fmt"
	"strings"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// hosted is an actor incarnation that lives on this node.
type hosted struct {
	id       spec.ActorID
	inc      int
	owner    spec.NodeID // zero: here
	creation *run
	tmpl     *owner.Template
	worker   *worker
	alive    bool
	intended bool // it exits on purpose
	initFail bool
	left     bool // by sys.exit(): its calls have ended, their children go on
	cause    *spec.ErrorInfo
	initText string
	repr     string
	seq      uint32
	calls    map[uint32]*run
	pending  []*run // calls whose arguments are being brought, and those behind them
	home     home   // of its calls
}

// startActor runs a constructor on the node that the head chose.
func (d *daemon) startActor(t *owner.Task, node spec.NodeID, inc int, room bool) {
	r := &run{task: t, spec: &t.Spec, attempt: t.Attempt, inc: inc, room: room}
	t.Run = r
	if node != d.self {
		d.forward(t, node, inc)
		return
	}
	t.Node = spec.NodeID{}
	d.host(r)
}

// host makes this node the home of an actor's incarnation.
func (d *daemon) host(r *run) {
	id := r.spec.ID.ActorID()
	if h := d.hosted[id]; h != nil && h.inc >= r.inc {
		return
	}
	d.arrivals++ // the head counts it until it hears of this
	d.wakeTicker()
	h := &hosted{id: id, inc: r.inc, owner: r.from, creation: r, tmpl: r.spec.Tmpl, calls: map[uint32]*run{}}
	h.home.beyond = func() int { return h.limit("") }
	if k := d.early.take(id, r.inc); k != nil {
		d.head.notify(wire.MethodActorEnded, wire.ActorEnded{ActorID: id, Incarnation: r.inc, Cause: d.killedCause(h, k)})
		return
	}
	if d.refuses(r) {
		d.beat() // first: the head is to choose by what is so now
		d.head.notify(wire.MethodActorEnded, wire.ActorEnded{ActorID: id, Incarnation: r.inc, Refused: true})
		return
	}
	d.hosted[id] = h
	r.actor = h
	d.runHere(r)
}

// refuses tells whether an actor must look for another node: it can never run
// here, or cannot begin at once although the head has sent it for that, by a
// word of this node that holds no more.
func (d *daemon) refuses(r *run) bool {
	c := r.spec.Tmpl.Class.(*class).pool
	return !d.pool.Feasible(c) || d.drain != nil || r.room && !d.pool.FitsBehind(c)
}

// creationBegun: a worker has the constructor.
func (d *daemon) creationBegun(w *worker, r *run) {
	h := r.actor
	if h == nil {
		return
	}
	h.worker, w.actor = w, h
	h.seq = r.Task.Seq
}

// creationEnded: the constructor has returned, raised, or its process is gone.
func (d *daemon) creationEnded(r *run, o *outcome) {
	h := r.actor
	if h == nil || o.lost != nil {
		return // actorGone tells the head
	}
	if o.status == owner.StatusOK || o.status == owner.StatusLastCall {
		h.alive = true
		d.head.notify(wire.MethodActorStarted, d.started(h))
		d.beat()
		if r.task != nil {
			d.own.ActorStarted(h.id, d.self, h.inc)
		}
		d.flushCalls(h)
		return
	}
	h.initFail = true
	if h.cause == nil {
		text := "The actor's constructor raised an exception."
		if o.status == owner.StatusCancelled {
			text = "The actor's creation was cancelled."
		}
		for i := range o.results {
			if e := wire.ErrorOf(o.results[i].Value.Blob); e != nil {
				text = e.Message
			}
		}
		if h.initText != "" {
			text = h.initText
		}
		if !strings.HasPrefix(text, "The actor ") {
			text = "The actor died because of an error raised in its creation task, " + text
		}
		h.cause = d.actorDied(h, text)
	}
	h.cause.Fields["init_failed"] = true
	if h.worker == nil {
		d.actorGone(h, h.cause)
		return
	}
	h.worker.killed = "its actor's constructor raised"
	d.exitWorker(h.worker, "constructor raised", false)
}

func (d *daemon) started(h *hosted) wire.ActorStarted {
	s := wire.ActorStarted{ActorID: h.id, Incarnation: h.inc, ReprName: h.repr}
	if h.worker != nil {
		s.WorkerID, s.PID = h.worker.id, h.worker.pid
	}
	return s
}

// actorDied is the error of an actor that ended here.
func (d *daemon) actorDied(h *hosted, text string) *spec.ErrorInfo {
	f := map[string]any{"actor_id": h.id.String(), "ip": d.cfg.NodeIP}
	if o := h.tmpl.Actor; o != nil {
		f["class_name"], f["name"], f["namespace"] = o.ClassName, o.Name, o.Namespace
	}
	if h.worker != nil {
		f["pid"] = h.worker.pid
	}
	return &spec.ErrorInfo{Type: "ActorDiedError", Message: text, Fields: f}
}

// actorGone ends an incarnation whose process is over, and tells the head.
// Unanswered calls stay with their callers, who hear from the head whether the
// actor comes back.
func (d *daemon) actorGone(h *hosted, info *spec.ErrorInfo) {
	if d.hosted[h.id] != h {
		return
	}
	delete(d.hosted, h.id)
	d.wakeTicker()
	for _, r := range h.calls {
		d.dropRun(r)
	}
	for _, r := range h.pending {
		d.dropRun(r)
	}
	cause := h.cause
	if cause == nil {
		cause = d.actorDied(h, "The actor died unexpectedly before finishing this task.\n\tcause: The actor is dead because its worker process has died. "+info.Message)
	}
	if h.intended && h.cause == nil {
		cause = d.actorDied(h, "The actor is dead because its worker process has died. Worker exit type: INTENDED_USER_EXIT: it exited on purpose, with exit_actor() or sys.exit(): exit code 0.")
	}
	if !h.alive && !h.initFail && !h.intended && (h.tmpl.Actor == nil || h.tmpl.Actor.MaxRestarts == 0) && h.worker != nil {
		h.initFail = true // the constructor ended the process
	}
	d.head.notify(wire.MethodActorEnded, wire.ActorEnded{ActorID: h.id, Incarnation: h.inc, Cause: cause,
		Intended: h.intended, InitFailed: h.initFail})
	d.beat()
}

// dropRun forgets a run without a report.
func (d *daemon) dropRun(r *run) {
	if r.over {
		return
	}
	r.over = true
	if d.runs[r.spec.ID] == r {
		delete(d.runs, r.spec.ID)
	}
	delete(d.streams, r.spec.ID)
	d.unhold(r)
	d.unpinForeign(r)
}

// killActor is the head's word.
func (d *daemon) killActor(k wire.ActorKill) {
	h := d.hosted[k.ActorID]
	if h == nil || k.Incarnation > h.inc {
		d.early.add(k)
	}
	if h == nil || k.Incarnation != 0 && k.Incarnation < h.inc {
		return
	}
	if k.Graceful {
		h.intended = true
	}
	h.cause = d.killedCause(h, &k)
	reason := killReason(&k)
	if h.worker == nil {
		r := h.creation
		d.pool.Remove(&r.Task)
		r.missing = 0
		d.dropRun(r)
		d.actorGone(h, h.cause)
		return
	}
	h.worker.killed = reason
	if k.Graceful && h.alive { // a constructor may hang
		d.exitWorker(h.worker, reason, true)
		return
	}
	d.procs.Kill(h.worker.id)
}

func killReason(k *wire.ActorKill) string {
	return cmp.Or(k.Reason, "it was killed by ray.kill")
}

func (d *daemon) killedCause(h *hosted, k *wire.ActorKill) *spec.ErrorInfo {
	return d.actorDied(h, "The actor is dead because "+killReason(k)+".")
}

// endChildren ends the actors that a process has made which died without being
// asked to: their constructors and calls may run for ever, and whoever else has
// a handle is told. A process that ends in order only lets its handles go, and
// what a draining node owns has an heir.
func (d *daemon) endChildren(w *worker, c *client) {
	if d.down || d.drain != nil || w.leaving() {
		return
	}
	for _, id := range d.own.MadeBy(c.num) {
		d.head.tell(wire.MethodActorKill, wire.ActorKill{ActorID: id, NoRestart: true,
			Reason: fmt.Sprintf("its owner has died. Owner worker: %s (pid %d) on node %s", w.id, w.pid, d.cfg.NodeIP)})
	}
}

// The values of worker.killed for ends in order.
const (
	endIdle     = "idle"
	endMaxCalls = "max_calls"
)

// leaving tells that the worker's end is in order.
func (w *worker) leaving() bool {
	if a := w.actor; a != nil && (a.intended || a.left || a.initFail) {
		return true
	}
	return w.killed == endIdle || w.killed == endMaxCalls
}
