package node

import (
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// snapshot is an object's value as other nodes get it.
func snapshot(o *owner.Object) owner.Value {
	return owner.Value{Where: o.Where, Err: o.Err, Blob: o.Blob, Size: o.Size, Nodes: o.Locs, Refs: o.Nested}
}

// tell sends a value to a node that asked. The references inside are kept
// until it says that their owners know it.
func (d *daemon) tell(to spec.NodeID, o *owner.Object) {
	v := snapshot(o)
	d.hold(to, transitKey{object: o.ID}, v.Refs)
	d.toPeer(to, func(b []byte) []byte {
		b, at := wire.Begin(b, pValue, 0, 0)
		b = append(b, o.ID[:]...)
		return wire.End(appendRemoteValue(b, &v, d.self), at)
	})
}

// hold pins references that are on their way to a peer.
func (d *daemon) hold(to spec.NodeID, k transitKey, refs []spec.Ref) {
	if len(refs) == 0 {
		return
	}
	p := d.peerOf(to)
	if p.dead {
		return
	}
	for _, r := range refs {
		d.own.Pin(r)
	}
	p.transit[k] = append(p.transit[k], refs...)
}

func (d *daemon) arrived(from spec.NodeID, k transitKey) {
	p := d.peerOf(from)
	refs := p.transit[k]
	delete(p.transit, k)
	for _, r := range refs {
		d.own.Unpin(r)
	}
}

// reportRun tells a task's owner on another node how the attempt ended, once
// the owners of the references that it was given know this node.
func (d *daemon) reportRun(r *run, o outcome) {
	if r.from == d.self {
		d.dropForeign(r, &o)
		return
	}
	// The worker may let go of what it returns before the result can leave.
	for i := range o.results {
		for _, ref := range o.results[i].Value.Refs {
			d.own.Pin(ref)
		}
	}
	r.result = &o
	d.unsent++
	if r.adopted {
		d.sendResult(r)
	}
}

// unpinResult undoes what reportRun has pinned.
func (d *daemon) unpinResult(o *outcome) {
	for i := range o.results {
		for _, ref := range o.results[i].Value.Refs {
			d.own.Unpin(ref)
		}
	}
}

// dropForeign lets the results of a run without an owner go.
func (d *daemon) dropForeign(r *run, o *outcome) {
	for i := range o.results {
		if o.results[i].Value.Where == owner.Arena {
			d.store.Delete(r.spec.ID.Return(o.results[i].Index))
		}
	}
	d.unpinForeign(r)
}

func (d *daemon) sendResult(r *run) {
	o := r.result
	r.result = nil
	d.unsent--
	defer d.unpinResult(o)
	if d.peerOf(r.from).dead {
		d.dropForeign(r, o)
		return
	}
	k := transitKey{task: r.spec.ID, attempt: r.attempt}
	for i := range o.results {
		v := &o.results[i].Value
		if v.Where == owner.Arena {
			d.own.Hold(spec.Ref{ID: r.spec.ID.Return(o.results[i].Index), Owner: r.from}, v.Off, v.Size, v.Refs)
		}
		d.hold(r.from, k, v.Refs)
	}
	started := r.spec.Kind == owner.KindCreate && r.actor != nil && r.actor.alive
	d.toPeer(r.from, func(b []byte) []byte { return appendResult(b, r.spec.ID, r.attempt, o, started, r.inc, d.self) })
	d.peerOf(r.from).owes = true
	d.unpinForeign(r)
}

// unpinForeign lets go of the arguments of a run that came from another node.
func (d *daemon) unpinForeign(r *run) {
	if r.task != nil || !r.pinned {
		return
	}
	r.pinned = false
	for _, ref := range r.spec.Deps {
		d.own.Unpin(ref)
	}
	for _, ref := range r.spec.Refs {
		d.own.Unpin(ref)
	}
}

// sendItem sends an item of a stream to its owner.
func (d *daemon) sendItem(r *run, index uint32, v owner.Value) {
	if v.Where == owner.Arena {
		d.own.Hold(spec.Ref{ID: r.spec.ID.Return(index), Owner: r.from}, v.Off, v.Size, v.Refs)
	}
	id := r.spec.ID
	d.hold(r.from, transitKey{task: id, attempt: r.attempt, object: id.Return(index)}, v.Refs)
	d.toPeer(r.from, func(b []byte) []byte {
		b, at := wire.Begin(b, pItem, 0, 0)
		b = append(b, id[:]...)
		b = le.AppendUint32(b, uint32(r.attempt))
		b = le.AppendUint32(b, index)
		return wire.End(appendRemoteValue(b, &v, d.self), at)
	})
}

// token of adoptions.
type (
	adoptRun   struct{ run *run }
	adoptTaken struct {
		node spec.NodeID
		key  transitKey
	}
)

// adopted: the owners of some references know this node.
func (d *daemon) adopted(a *owner.Adoption) {
	switch t := a.Token.(type) {
	case adoptRun:
		t.run.adopted = true
		if t.run.result != nil {
			d.sendResult(t.run)
		}
	case adoptTaken:
		k := t.key
		if k.task.IsZero() {
			d.toPeer(t.node, func(b []byte) []byte { return appendRef(b, refReceived, k.object, d.self) })
			return
		}
		d.toPeer(t.node, func(b []byte) []byte {
			b, at := wire.Begin(b, pTaken, 0, 0)
			b = le.AppendUint32(append(b, k.task[:]...), uint32(k.attempt))
			return wire.End(append(b, k.object[:]...), at)
		})
	}
}
