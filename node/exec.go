package node

import (
	"math"
	"slices"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/pool"
)

// outcome is the end of an attempt that ran here.
type outcome struct {
	status  uint8
	items   uint32
	results []owner.Result
	lost    *spec.ErrorInfo // the attempt failed without the user's code saying so
	charge  bool
	why     *spec.ErrorInfo // of an error that this daemon has made the result
}

// withoutRun is the outcome of an attempt that could not begin.
func withoutRun(why *spec.ErrorInfo) outcome {
	v := owner.Value{Where: owner.Inline, Err: true, Blob: wire.ErrorBlob(why)}
	return outcome{status: owner.StatusError, results: []owner.Result{{Value: v}}, why: why}
}

// poolEffect carries out one decision of the pool.
func (d *daemon) poolEffect(e *pool.Effect) {
	switch e.Kind {
	case pool.EffStart:
		d.startWorker(e.Key)
	case pool.EffLease:
		d.sendLease(e.Worker, e.Epoch)
	case pool.EffExec:
		d.wakeTicker()
		r := e.Task.Data.(*run)
		w, _ := e.Worker.Data.(*worker)
		if w == nil || w.client == nil {
			return // its end is on the way and will give the task back
		}
		d.exec(w, r, e.Task.Seq, e.Epoch)
		d.adm.stir()
	case pool.EffRecall:
		if w, _ := e.Worker.Data.(*worker); w != nil && w.client != nil {
			w.client.control(wire.AppendU32(nil, wire.TRecall, e.Epoch))
		}
	case pool.EffLook:
		d.look(e.Worker)
	case pool.EffDrop:
		d.endRun(e.Task.Data.(*run), outcome{status: owner.StatusCancelled})
	case pool.EffExit:
		if w, _ := e.Worker.Data.(*worker); w != nil {
			w.killed = endIdle
			d.exitWorker(w, "idle", true)
		}
	}
}

// look finds out whether a worker is stopped, or too busy to answer, while
// tasks that it has not begun wait for it, and takes those back.
func (d *daemon) look(pw *pool.Worker) {
	w, _ := pw.Data.(*worker)
	if w == nil || w.client == nil || w.client.slot < 0 {
		return
	}
	slot := w.client.slot
	hold := func(epoch uint32) (uint32, bool) { return d.store.HoldSlot(slot, epoch) }
	d.pool.Looked(pw, d.store.Begun(slot), hold, d.now())
}

func (d *daemon) sendLease(pw *pool.Worker, epoch uint32) {
	w, _ := pw.Data.(*worker)
	if w == nil || w.client == nil {
		return
	}
	info := pw.Class.Data.(*class)
	l := wire.Lease{Epoch: epoch, Resources: pw.Class.Need, Devices: d.cfg.deviceNames(pw.Devices()), GPUVariable: d.cfg.GPUVariable, CaptureChildren: info.lease.capture}
	if !info.lease.pg.IsZero() {
		l.PlacementGroup = info.lease.pg.String()
	}
	d.send(w.client, func(b []byte) []byte { return wire.AppendJSON(b, wire.TLease, l) })
}

// exec sends a task to a worker.
func (d *daemon) exec(w *worker, r *run, seq, epoch uint32) {
	c := w.client
	d.know(c, r.spec.Tmpl)
	m := &d.scratch.exec
	deps := d.scratch.deps[:0]
	for _, dep := range r.spec.Deps {
		deps = append(deps, wire.Dep{Ref: dep, Value: d.argValue(c, dep)})
	}
	d.scratch.deps = deps
	var flags uint8
	if r.spec.ArgsIn {
		flags = wire.ArgsInObject
	}
	if r.spec.Tmpl.RetryExceptions {
		flags |= wire.MayRetry
	}
	d.deliverRefs(c, r.spec.Refs)
	if d.recordSites {
		d.noteArgs(c, r)
	}
	*m = wire.Exec{Kind: r.spec.Kind, Flags: flags, Seq: seq, Epoch: epoch, Template: r.spec.Tmpl.Num,
		NReturns: uint32(r.spec.NReturns), Attempt: uint32(r.attempt), Task: r.spec.ID, Parent: r.spec.Parent,
		Deps: deps, Refs: r.spec.Refs, Payload: r.spec.Payload}
	if r.spec.Tmpl.Dynamic {
		if m.Owner = r.from; r.task != nil {
			m.Owner = d.self
		}
	}
	c.out.Append(m.Append)
	d.mark(c)
	r.started, r.last = time.Now().UnixMilli(), w
	if r.spec.Tmpl.Yields() {
		d.streams[r.spec.ID] = r
		d.tellTaken(w, r)
	}
	if r.spec.Kind == owner.KindCreate {
		d.creationBegun(w, r)
	}
}

// tellTaken tells a worker that runs a generator once more how much has been
// taken of it already, so that it does not wait for that.
func (d *daemon) tellTaken(w *worker, r *run) {
	if r.task != nil {
		r.taken = max(r.taken, r.task.Consumed)
	}
	if r.taken > 0 {
		w.client.control(wire.AppendConsumed(nil, wire.TGenConsumed, r.spec.ID, r.taken))
	}
}

// argValue is an argument as it goes into EXEC; arena values are pinned for
// the worker until it answers UNPIN.
func (d *daemon) argValue(c *client, dep spec.Ref) wire.Value {
	o := d.own.Object(dep.ID)
	if o == nil {
		return wire.Value{Where: wire.Elsewhere}
	}
	d.deliverRefs(c, o.Nested)
	if o.Where == owner.Inline {
		return wire.Value{Where: wire.Inline, Blob: o.Blob, Refs: o.Nested}
	}
	v := wire.Value{Where: wire.Elsewhere, Refs: o.Nested}
	if !d.store.InMemory(o.ID) {
		return v // it could not be brought here: the worker asks and is told why
	}
	d.store.Get(uint32(c.num), o.ID, func(off, size uint64, err error) {
		// at once: it is in memory
		if err == nil {
			v.Where, v.Offset, v.Size = wire.Arena, off, size
		}
	})
	return v
}

// know makes sure that the client has a template and its function.
func (d *daemon) know(c *client, t *owner.Template) {
	n := int(t.Num)
	if n < len(c.sentTmpl) && c.sentTmpl[n] {
		return
	}
	if n >= len(c.sentTmpl) {
		c.sentTmpl = append(c.sentTmpl, make([]bool, n+16-len(c.sentTmpl))...)
	}
	c.sentTmpl[n] = true
	if id := t.FunctionID; !id.IsZero() && !c.sentExports[id] {
		if code, ok := d.functions[id]; ok {
			c.sentExports[id] = true
			m := wire.Export{ID: id, Code: code}
			c.out.Append(m.Append)
		}
	}
	m := wire.Template{Number: t.Num, JSON: t.JSON}
	c.out.Append(m.Append)
}

func (d *daemon) onDone(c *client, body []byte) error {
	m := &d.scratch.done
	if err := m.Decode(body); err != nil {
		return err
	}
	w := c.worker
	if w == nil || w.pw == nil {
		return nil
	}
	r := d.runOf(w, m)
	if r == nil {
		return nil // given back before; its results are discarded with the process
	}
	results := make([]owner.Result, 0, len(m.Returns))
	for i := range m.Returns {
		v, err := d.take(c, m.Task.Return(m.Returns[i].Index), &m.Returns[i].Value)
		if err != nil {
			v = owner.Value{Where: owner.Inline, Err: true, Blob: wire.ErrorBlob(storeError(err))}
		}
		results = append(results, owner.Result{Index: m.Returns[i].Index, Value: v})
	}
	if m.Status == owner.StatusExit && w.actor != nil {
		w.actor.intended = true
	}
	if m.Status == owner.StatusLastCall {
		w.killed = endMaxCalls
	}
	d.endRun(r, outcome{status: m.Status, items: m.Items, results: results})
	return nil
}

// runOf finds the run that a DONE ends and takes it from its worker.
func (d *daemon) runOf(w *worker, m *wire.Done) *run {
	if w.actor != nil {
		if r := w.actor.calls[m.Seq]; r != nil {
			delete(w.actor.calls, m.Seq)
			return r
		}
	}
	pt := d.pool.Done(w.pw, m.Seq, m.Micros, d.now())
	if pt == nil {
		return nil
	}
	return pt.Data.(*run)
}

func (d *daemon) onYield(c *client, body []byte) error {
	m := &d.scratch.yield
	if err := m.Decode(body); err != nil {
		return err
	}
	r := d.streams[m.Task]
	if r == nil {
		return nil
	}
	v, err := d.take(c, m.Task.Return(m.Index), &m.Value)
	if err != nil {
		v = owner.Value{Where: owner.Inline, Err: true, Blob: wire.ErrorBlob(storeError(err))}
	}
	if r.task != nil {
		d.own.Yield(r.task, r.attempt, m.Index, v)
		return nil
	}
	d.sendItem(r, m.Index, v)
	return nil
}

// endRun reports the end of an attempt to its owner.
func (d *daemon) endRun(r *run, o outcome) {
	if r.over {
		return
	}
	r.over = true
	d.wakeTicker()
	if d.runs[r.spec.ID] == r {
		delete(d.runs, r.spec.ID)
	}
	if r.spec.Tmpl.Yields() {
		delete(d.streams, r.spec.ID)
	}
	d.unhold(r)
	if r.task != nil || o.lost == nil || o.charge || r.started != 0 {
		d.events.add(d, r, &o) // what only goes back has not happened here
	}
	if r.spec.Kind == owner.KindCreate {
		d.creationEnded(r, &o)
	}
	if r.task == nil {
		d.reportRun(r, o)
		return
	}
	if o.lost != nil {
		d.own.Failed(r.task, r.attempt, o.lost, o.charge)
		return
	}
	d.own.Done(r.task, r.attempt, o.status, o.results, o.items)
}

// stopTask ends a task that is owned here wherever it is.
func (d *daemon) stopTask(t *owner.Task, force bool) {
	r, _ := t.Run.(*run)
	if !t.Node.IsZero() && t.Node != d.self {
		d.sendStop(t, force)
		return
	}
	if d.unplace(t) {
		d.own.Withdrawn(t)
		return
	}
	if r == nil || r.over {
		return
	}
	d.stopRun(r, force)
}

// stopRun cancels a run on this node.
func (d *daemon) stopRun(r *run, force bool) {
	r.Task.Cancelled = true
	if r.missing > 0 || d.pool.Remove(&r.Task) {
		r.missing = 0
		d.endRun(r, outcome{status: owner.StatusCancelled})
		return
	}
	var w *worker
	if r.spec.Kind == owner.KindCall {
		if r.actor != nil {
			w = r.actor.worker
			if slices.Contains(r.actor.pending, r) {
				r.actor.pending = slices.DeleteFunc(r.actor.pending, func(x *run) bool { return x == r })
				d.endRun(r, outcome{status: owner.StatusCancelled})
				return
			}
		}
		force = false
	} else if r.Task.Worker != nil {
		w, _ = r.Task.Worker.Data.(*worker)
	}
	if w == nil || w.client == nil {
		return
	}
	if force {
		w.killed = "task " + r.spec.Tmpl.Name + " was cancelled with force=True"
		w.forced = true
		d.procs.Kill(w.id)
		return
	}
	w.client.control(wire.AppendCancel(nil, r.spec.ID, false))
}

// readerGone ends a client's part in objects, tasks and streams.
func (d *daemon) readerGone(c owner.Client, unfinished func(spec.TaskID) bool) {
	for _, id := range d.own.ClientGone(c, unfinished) {
		d.consumed(id, math.MaxUint32)
	}
}

// consumed passes on what a stream's consumer has taken in.
func (d *daemon) consumed(id spec.TaskID, n uint32) {
	if t := d.own.Task(id); t != nil {
		d.own.Consumed(t, n)
		if !t.Node.IsZero() && t.Node != d.self {
			d.sendConsumed(t, n)
			return
		}
	}
	r := d.runs[id]
	if r == nil {
		return
	}
	r.taken = max(r.taken, n)
	if d.streams[id] != r {
		return // it has not begun
	}
	var w *worker
	if r.actor != nil {
		w = r.actor.worker
	} else if r.Task.Worker != nil {
		w, _ = r.Task.Worker.Data.(*worker)
	}
	if w != nil && w.client != nil {
		w.client.control(wire.AppendConsumed(nil, wire.TGenConsumed, id, n))
	}
}
