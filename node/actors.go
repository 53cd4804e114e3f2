package node

import (
	"bytes"
	"encoding/json"
	"slices"
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
	cause    *spec.ErrorInfo
	initText string
	repr     string
	seq      uint32
	calls    map[uint32]*run
	pending  []*run // calls whose arguments are being brought, and those behind them
}

// createActor announces an actor to the head.
func (d *daemon) createActor(t *owner.Task) {
	c := t.Tmpl.Class.(*class)
	o := t.Tmpl.Actor
	if o == nil {
		o = &spec.ActorOptions{}
	}
	id := t.ID.ActorID()
	if o.Detached {
		d.detached[id] = true
	}
	req := wire.ActorCreate{
		Info: spec.ActorInfo{ID: id, JobID: t.ID.JobID(), Options: *o, State: spec.ActorPending, Owner: d.self,
			Resources: t.Tmpl.Resources, PlacementGroup: c.lease.pg},
		Placement: c.place, Strategy: t.Tmpl.Strategy, LabelSelector: t.Tmpl.LabelSelector, Fallback: t.Tmpl.Fallback,
	}
	if j := d.jobs[t.ID.JobID()]; j != nil {
		req.Python = d.pythonOf(j.id)
		if o.Detached && o.MaxRestarts != 0 {
			req.Stored = d.storedSpec(j, t)
		}
	}
	d.head.async(wire.MethodActorCreate, req, nil, func(r wire.Reply, err error) {
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			info := wire.InfoOf(err)
			d.locked(func() {
				d.own.ActorUpdate(spec.ActorInfo{ID: id, State: spec.ActorDead, Death: info, Options: *o, Incarnation: 1 << 30})
			})
			return
		}
		d.watchActor(id) // not before: the head must know it
	})
	d.own.Watched(id)
}

// creationFailed tells the head that a constructor cannot run.
func (d *daemon) creationFailed(t *owner.Task) {
	id := t.ID.ActorID()
	o := d.own.Object(t.ID.Return(1))
	cause := &spec.ErrorInfo{Type: "ActorDiedError", Message: "The actor's constructor could not run, because an argument failed.", Fields: map[string]any{"actor_id": id.String(), "init_failed": true}}
	if o != nil && o.Where == owner.Inline {
		if e := wire.ErrorOf(o.Blob); e != nil {
			cause.Message = e.Message
			if e.Type != "" && e.Type != "TaskCancelledError" {
				cause.Type = e.Type
			}
		}
	}
	a := d.own.Actor(id)
	inc := 0
	if a != nil {
		inc = a.Incarnation
	}
	d.head.notify(wire.MethodActorEnded, wire.ActorEnded{ActorID: id, Incarnation: inc, Cause: cause, InitFailed: true})
	d.head.async("actor.kill", map[string]any{"actor_id": id, "no_restart": true, "reason": cause.Message}, nil, func(wire.Reply, error) {})
	info := spec.ActorInfo{ID: id, State: spec.ActorDead, Death: cause, Incarnation: 1 << 30}
	if t.Tmpl.Actor != nil {
		info.Options = *t.Tmpl.Actor
	}
	d.own.ActorUpdate(info)
}

// watchActor asks the head for an actor's row and its changes.
func (d *daemon) watchActor(id spec.ActorID) {
	d.head.async(wire.MethodActorWatch, wire.ActorRef{ActorID: id}, nil, func(r wire.Reply, err error) {
		if err == nil {
			err = r.Err()
		}
		var info spec.ActorInfo
		if err == nil {
			err = json.Unmarshal(r.JSON, &info)
		}
		if err != nil {
			if a := wire.InfoOf(err); a.Type == "ActorHandleNotFoundError" || a.Type == "ValueError" {
				d.actorUnknown(id, a)
			}
			return
		}
		if info.State != "" {
			d.locked(func() { d.own.ActorUpdate(info) })
		}
	})
}

// actorUnknown: the head has no such actor. Its creation may be on its way if
// it is owned here; otherwise its calls fail.
func (d *daemon) actorUnknown(id spec.ActorID, e *spec.ErrorInfo) {
	d.locked(func() {
		if a := d.own.Actor(id); a != nil && a.Creation == nil {
			d.own.ActorUpdate(spec.ActorInfo{ID: id, State: spec.ActorDead, Incarnation: 1 << 30,
				Death: &spec.ErrorInfo{Type: "ActorDiedError", Message: e.Message, Fields: map[string]any{"actor_id": id.String()}}})
		}
	})
}

// startActor runs a constructor on the node that the head chose.
func (d *daemon) startActor(t *owner.Task, node spec.NodeID, inc int) {
	if node != d.self {
		d.forward(t, node, inc)
		return
	}
	t.Node = spec.NodeID{}
	r := &run{task: t, spec: &t.Spec, attempt: t.Attempt, inc: inc}
	t.Run = r
	d.host(r)
}

// host makes this node the home of an actor's incarnation.
func (d *daemon) host(r *run) {
	id := r.spec.ID.ActorID()
	c := r.spec.Tmpl.Class.(*class)
	if h := d.hosted[id]; h != nil && h.inc >= r.inc {
		return
	}
	if !d.pool.Feasible(c.pool) || d.drain != nil {
		d.head.notify(wire.MethodActorEnded, wire.ActorEnded{ActorID: id, Incarnation: r.inc, Refused: true})
		return
	}
	h := &hosted{id: id, inc: r.inc, owner: r.from, creation: r, tmpl: r.spec.Tmpl, calls: map[uint32]*run{}}
	d.hosted[id] = h
	r.actor = h
	d.runHere(r)
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
		cause = d.actorDied(h, "The actor died unexpectedly before finishing this task.\n\tcause: "+info.Message)
	}
	if h.intended && h.cause == nil {
		cause = d.actorDied(h, "The actor exited on purpose (exit_actor, or the end of its last handle).")
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
	for _, id := range r.held {
		d.store.Unpin(0, id, 1)
	}
	r.held = nil
	d.unpinForeign(r)
}

// sendCall sends an actor call to the node where the actor lives.
func (d *daemon) sendCall(t *owner.Task, node spec.NodeID, inc int) {
	if node != d.self {
		d.forward(t, node, inc)
		return
	}
	r, ok := t.Run.(*run)
	if !ok || r.over || r.attempt != t.Attempt || r.actor != nil {
		r = &run{task: t, spec: &t.Spec}
		t.Run = r
	}
	r.attempt, r.inc, r.caller = t.Attempt, inc, uint64(t.Client)
	t.Node = spec.NodeID{}
	d.hostCall(r)
}

// hostCall takes a call for an actor that lives here. A call for an
// incarnation that is over is dropped: its caller hears of the end.
func (d *daemon) hostCall(r *run) {
	h := d.hosted[r.spec.ID.ActorID()]
	if h == nil || h.inc != r.inc {
		d.unpinForeign(r)
		return
	}
	r.actor = h
	r.over = false
	r.Task.Data = r
	if len(r.spec.Deps) == 0 && len(h.pending) == 0 && h.alive {
		d.execCall(h, r)
		return
	}
	d.runs[r.spec.ID] = r
	h.pending = append(h.pending, r)
	r.missing = 1
	for _, dep := range r.spec.Deps {
		d.needArg(r, dep)
	}
	if r.missing--; r.missing == 0 {
		d.argsHere(r)
	}
}

// callReady: the arguments of a waiting call are there.
func (d *daemon) callReady(r *run) { d.flushCalls(r.actor) }

// flushCalls begins the calls that may begin. Calls of one caller keep their
// order unless the actor runs them out of order.
func (d *daemon) flushCalls(h *hosted) {
	if !h.alive || len(h.pending) == 0 {
		return
	}
	anyOrder := h.tmpl.Actor != nil && h.tmpl.Actor.OutOfOrder
	var stuck []callerKey
	kept := h.pending[:0]
	for _, r := range h.pending {
		k := callerKey{r.from, r.caller}
		if r.over {
			continue
		}
		if r.missing > 0 || (!anyOrder && slices.Contains(stuck, k)) {
			stuck = append(stuck, k)
			kept = append(kept, r)
			continue
		}
		d.execCall(h, r)
	}
	clear(h.pending[len(kept):])
	h.pending = kept
}

type callerKey struct {
	from   spec.NodeID
	caller uint64
}

func (d *daemon) execCall(h *hosted, r *run) {
	if h.worker == nil || h.worker.client == nil {
		d.dropRun(r)
		return
	}
	d.runs[r.spec.ID] = r
	h.seq++
	r.seq = h.seq
	h.calls[h.seq] = r
	d.exec(h.worker, r, h.seq, h.worker.pw.Epoch)
}

// killActor is the head's word.
func (d *daemon) killActor(k wire.ActorKill) {
	h := d.hosted[k.ActorID]
	if h == nil {
		return
	}
	if k.Graceful {
		h.intended = true
	}
	reason := k.Reason
	if reason == "" {
		reason = "it was killed by ray.kill"
	}
	h.cause = d.actorDied(h, "The actor is dead because "+reason+".")
	if h.worker == nil {
		r := h.creation
		d.pool.Remove(&r.Task)
		r.missing = 0
		d.dropRun(r)
		d.actorGone(h, h.cause)
		return
	}
	h.worker.killed = reason
	if k.Graceful {
		d.exitWorker(h.worker, reason, true)
		return
	}
	d.procs.Kill(h.worker.id)
}

// storedCreation is a creation spec that can be started without its owner.
type storedCreation struct {
	Job      jobInfo         `json:"job"`
	Template json.RawMessage `json:"template"`
	Code     []byte          `json:"code"`
	Payload  []byte          `json:"payload"`
}

// storedSpec is nil if the constructor takes references: those have an owner.
func (d *daemon) storedSpec(j *job, t *owner.Task) []byte {
	if len(t.Deps)+len(t.Refs) > 0 {
		return nil
	}
	b, err := json.Marshal(storedCreation{Job: j.info, Template: t.Tmpl.JSON, Code: d.functions[t.Tmpl.FunctionID], Payload: t.Payload})
	if err != nil || len(b) > 16<<20 {
		return nil
	}
	return b
}

// placeStored starts a detached actor whose owner is gone.
func (d *daemon) placeStored(p wire.ActorPlace) error {
	var s storedCreation
	if err := json.Unmarshal(p.Stored, &s); err != nil {
		return err
	}
	j := d.job(s.Job)
	t, err := d.template(j, s.Template)
	if err != nil {
		return err
	}
	if !t.FunctionID.IsZero() {
		d.functions[t.FunctionID] = s.Code
	}
	d.detached[p.ActorID] = true
	sp := &owner.Spec{ID: spec.ActorCreationTaskID(p.ActorID), Kind: owner.KindCreate, NReturns: 1, Tmpl: t, Payload: bytes.Clone(s.Payload)}
	d.host(&run{spec: sp, inc: p.Incarnation, from: d.self})
	return nil
}
