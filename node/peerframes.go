package node

import (
	"encoding/json"
	"fmt"
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// peerFrame handles one frame of another node.
func (d *daemon) peerFrame(from spec.NodeID, f *wire.Frame) error {
	r := &reader{b: f.Body, ok: true}
	switch f.Type {
	case pJob:
		var info jobInfo
		if err := json.Unmarshal(f.Body, &info); err != nil {
			return err
		}
		d.job(info)
	case pLog:
		var l remoteLog
		if err := json.Unmarshal(f.Body, &l); err != nil {
			return err
		}
		if j := d.jobs[l.Job]; j != nil && j.driver != nil {
			d.toDriver(j.driver, l.Batch)
		}
	case wire.TExport:
		return d.onExport(f.Body)
	case wire.TTemplate:
		return d.peerTemplate(from, r)
	case pTask:
		return d.peerTask(from, r)
	case pResult:
		return d.peerResult(from, r)
	case pItem:
		return d.peerItem(from, r)
	case pRef:
		return d.peerRef(from, f.Aux, r)
	case pValue:
		id := r.object()
		v := r.value()
		if !r.ok {
			return wire.ErrMalformed
		}
		d.own.Told(id, v)
		d.own.Adopt(from, v.Refs, adoptTaken{from, transitKey{object: id}})
	case pEstate:
		return d.peerEstate(from, f.Aux, r)
	case pStop:
		return d.peerStop(f.Aux, r)
	case pConsumed:
		id, n, err := wire.DecodeConsumed(f.Type, f.Body)
		d.consumed(id, n)
		return err
	case pCollect:
		d.collectHere()
	case pTaken:
		k := transitKey{task: r.task(), attempt: int(r.u32())}
		k.object = r.object()
		d.arrived(from, k)
	}
	return nil
}

func (d *daemon) peerTemplate(from spec.NodeID, r *reader) error {
	id := spec.JobID(r.take(spec.JobIDSize))
	num := r.u32()
	if !r.ok {
		return wire.ErrMalformed
	}
	j := d.jobs[id]
	if j == nil {
		j = d.job(jobInfo{ID: id})
	}
	t, err := d.template(j, r.b)
	if err != nil {
		return err
	}
	d.peerOf(from).templates[num] = t
	return nil
}

// peerTask takes an attempt that another node owns.
func (d *daemon) peerTask(from spec.NodeID, r *reader) error {
	kind, flags := r.u8(), r.u8()
	tmpl := d.peerOf(from).templates[r.u32()]
	s := &owner.Spec{Kind: kind, ArgsIn: flags&taskArgsIn != 0, Tmpl: tmpl, NReturns: int(r.u32())}
	x := &run{spec: s, from: from, attempt: int(r.u32()), inc: int(r.u32()), caller: r.u64(), room: flags&taskRoom != 0}
	s.ID, s.Parent = r.task(), r.task()
	ndeps, nrefs := r.u16(), r.u16()
	s.Deps, s.Refs = r.refs(ndeps), r.refs(nrefs)
	values := make([]owner.Value, 0, ndeps)
	for range ndeps {
		values = append(values, r.value())
	}
	s.Payload = append([]byte{}, r.bytes(int(r.u32()))...)
	if !r.ok || tmpl == nil {
		return fmt.Errorf("task of another node: %w", wire.ErrMalformed)
	}
	if x.pinned = true; flags&taskGranted != 0 {
		d.arrivals++
	}
	refs := slices.Concat(s.Deps, s.Refs)
	for i, dep := range s.Deps {
		d.own.Pin(dep)
		if values[i].Where == owner.Inline || len(values[i].Nodes) > 0 {
			d.own.Told(dep.ID, values[i])
			refs = append(refs, values[i].Refs...)
		}
	}
	for _, ref := range s.Refs {
		d.own.Pin(ref)
	}
	d.own.Adopt(from, refs, adoptRun{x})
	switch kind {
	case owner.KindCreate:
		d.host(x)
	case owner.KindCall:
		d.hostCall(x)
	default:
		c := tmpl.Class.(*class)
		if j := d.jobs[s.ID.JobID()]; j != nil && j.dead && tmpl.Root.IsZero() || d.drain != nil || !d.pool.Feasible(c.pool) {
			d.endRun(x, outcome{lost: unschedulable(tmpl.Name, "the chosen node cannot run it any more")})
			return nil
		}
		d.runHere(x)
	}
	return nil
}

// peerResult takes the end of an attempt that ran elsewhere.
func (d *daemon) peerResult(from spec.NodeID, r *reader) error {
	id, attempt := r.task(), int(r.u32())
	o := outcome{status: r.u8()}
	lost, charge, started := r.u8() != 0, r.u8() != 0, r.u8() != 0
	inc := int(r.u32())
	o.items, o.charge = r.u32(), charge
	text := r.bytes(int(r.u32()))
	if lost {
		o.lost = &spec.ErrorInfo{}
		if err := json.Unmarshal(text, o.lost); err != nil {
			return err
		}
	}
	for range r.u16() {
		if !r.ok {
			break
		}
		o.results = append(o.results, owner.Result{Index: r.u32(), Value: r.value()})
	}
	if !r.ok {
		return fmt.Errorf("result of another node: %w", wire.ErrMalformed)
	}
	var refs []spec.Ref
	for i := range o.results {
		refs = append(refs, o.results[i].Value.Refs...)
	}
	t := d.own.Task(id)
	if t != nil && t.Attempt == attempt {
		d.slotDone(t, o.lost != nil && !o.charge)
	}
	switch {
	case t == nil:
		for i := range o.results {
			if o.results[i].Value.Where == owner.Remote {
				x := id.Return(o.results[i].Index)
				d.toPeer(from, func(b []byte) []byte { return appendRef(b, refFree, x, d.self) })
			}
		}
	case o.lost != nil:
		d.own.Failed(t, attempt, o.lost, o.charge)
	default:
		d.own.Done(t, attempt, o.status, o.results, o.items)
		if started {
			d.own.ActorStarted(id.ActorID(), from, inc)
		}
	}
	if len(refs) > 0 {
		d.own.Adopt(from, refs, adoptTaken{from, transitKey{task: id, attempt: attempt}})
	}
	return nil
}

func (d *daemon) peerItem(from spec.NodeID, r *reader) error {
	id, attempt, index := r.task(), int(r.u32()), r.u32()
	v := r.value()
	if !r.ok {
		return wire.ErrMalformed
	}
	if t := d.own.Task(id); t != nil {
		d.own.Yield(t, attempt, index, v)
	} else if v.Where == owner.Remote {
		d.toPeer(from, func(b []byte) []byte { return appendRef(b, refFree, id.Return(index), d.self) })
	}
	if len(v.Refs) > 0 {
		d.own.Adopt(from, v.Refs, adoptTaken{from, transitKey{task: id, attempt: attempt, object: id.Return(index)}})
	}
	return nil
}

func (d *daemon) peerRef(from spec.NodeID, op uint16, r *reader) error {
	id := r.object()
	node := spec.NodeID(r.take(spec.NodeIDSize))
	if !r.ok {
		return wire.ErrMalformed
	}
	switch op {
	case refBorrow:
		d.word(id, func() {
			if !d.own.BorrowedBy(id, from) {
				d.toPeer(from, func(b []byte) []byte { return appendRef(b, refUnknown, id, d.self) })
			}
			d.toPeer(from, func(b []byte) []byte { return appendRef(b, refAck, id, d.self) })
		})
	case refAck:
		d.own.BorrowAcked(id)
	case refUnborrow:
		if !d.own.Disowned(id) {
			d.own.UnborrowedBy(id, from)
		}
	case refAsk:
		if !d.own.Disowned(id) && !d.own.AskedBy(id, from) {
			d.toPeer(from, func(b []byte) []byte { return appendRef(b, refUnknown, id, d.self) })
		}
	case refFree:
		d.own.Unhold(id)
	case refLocLost:
		d.word(id, func() { d.own.LocationLost(id, node) })
	case refTake:
		d.word(id, func() { d.takeCopy(id, from) })
	case refConfirm:
		d.own.Confirmed(from, node)
	case refHeld:
		if !d.own.Disowned(id) && d.own.Object(id) == nil {
			d.toPeer(from, func(b []byte) []byte { return appendRef(b, refFree, id, d.self) })
		}
	case refKeep:
		answer := uint16(refLocLost)
		if d.own.Keep(id, func() bool { return d.store.Keep(id) }) {
			answer = refKept
		}
		d.toPeer(from, func(b []byte) []byte { return appendRef(b, answer, id, d.self) })
	case refKept:
		d.word(id, func() { d.own.Kept(id, from) })
	case refReceived:
		d.arrived(from, transitKey{object: id})
	case refUnknown:
		d.own.Unknown(id, from)
	}
	return nil
}

func (d *daemon) peerStop(op uint16, r *reader) error {
	id, attempt := r.task(), int(r.u32())
	force, recursive := r.u8() != 0, r.u8() != 0
	if !r.ok {
		return wire.ErrMalformed
	}
	switch op {
	case pCancel:
		d.cancel(id, force, recursive)
	case pChildren:
		d.cancelChildren(id, force)
	case pHalt:
		if x := d.runs[id]; x != nil && x.attempt == attempt && x.task == nil {
			d.stopRun(x, force)
		}
	}
	return nil
}
