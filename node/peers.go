package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// peer is another node: our session to it carries what we say, its session to
// us what it says.
type peer struct {
	id      spec.NodeID
	session *wire.Session // nil until dialled
	queue   []byte        // what is to be sent before that
	cancel  context.CancelFunc
	dead    bool

	sentTmpl    map[uint32]bool
	sentJobs    map[spec.JobID]bool
	sentExports map[spec.FunctionID]bool

	in        *wire.Session
	templates map[uint32]*owner.Template // by the peer's numbers
	transit   map[transitKey][]spec.Ref  // references on their way to the peer
}

type transitKey struct {
	task    spec.TaskID
	object  spec.ObjectID
	attempt int
}

// peerOf finds or makes a peer and starts to dial it. Under the lock.
func (d *daemon) peerOf(id spec.NodeID) *peer {
	p := d.peers[id]
	if p != nil {
		return p
	}
	p = &peer{id: id, sentTmpl: map[uint32]bool{}, sentJobs: map[spec.JobID]bool{}, sentExports: map[spec.FunctionID]bool{},
		templates: map[uint32]*owner.Template{}, transit: map[transitKey][]spec.Ref{}}
	d.peers[id] = p
	if d.nodes[id].State == spec.NodeDead {
		p.dead = true
		return p
	}
	ctx, cancel := context.WithCancel(d.ctx)
	p.cancel = cancel
	d.tasks.Go(func() { d.dialPeer(ctx, p) })
	return p
}

// dialPeer makes the session to a peer and keeps it until the peer is dead.
func (d *daemon) dialPeer(ctx context.Context, p *peer) {
	s, err := wire.DialSession(ctx, wire.DialOptions{
		Dialer:  wire.Dialer{Auth: d.auth},
		Address: func() string { return d.addressOf(p.id) },
		Self:    d.self.String(),
	})
	if err != nil {
		if ctx.Err() == nil {
			d.log.Warn("node cannot be reached", "node", p.id, "err", err)
		}
		return
	}
	d.mu.Lock()
	p.session = s
	if len(p.queue) > 0 {
		_ = s.Send(p.queue)
		p.queue = nil
	}
	d.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	err = s.Run(func(wire.Frame) {}, func() {})
	if err != nil && ctx.Err() == nil {
		d.log.Warn("session to a node has ended", "node", p.id, "err", err)
	}
}

func (d *daemon) addressOf(id spec.NodeID) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nodes[id].Address
}

// toPeer sends frames to another node.
func (d *daemon) toPeer(id spec.NodeID, f func(b []byte) []byte) {
	p := d.peerOf(id)
	if p.dead {
		return
	}
	b := f(nil)
	if p.session == nil {
		p.queue = append(p.queue, b...)
		return
	}
	_ = p.session.Send(b) // a session that ended is a node that is dead or will be
}

// acceptPeer serves a session that another node has opened.
func (d *daemon) acceptPeer(s *wire.Session, name string) error {
	var id spec.NodeID
	if err := id.UnmarshalText([]byte(name)); err != nil {
		return fmt.Errorf("session of %q: not a node id", name)
	}
	if !d.goes(func() {
		err := s.Run(func(f wire.Frame) {
			var err error
			d.locked(func() { err = d.peerFrame(id, &f) })
			if err != nil {
				d.log.Warn("frame of a node is skipped", "node", id, "type", f.Type, "err", err)
			}
		}, func() {})
		if err != nil && d.ctx.Err() == nil {
			d.log.Debug("session of a node has ended", "node", id, "err", err)
		}
	}) {
		return fmt.Errorf("this node is shutting down")
	}
	return nil
}

// peerEffect carries out the owner's decisions that concern other nodes.
func (d *daemon) peerEffect(e *owner.Effect) {
	switch e.Kind {
	case owner.EffBorrow:
		d.toPeer(e.Node, func(b []byte) []byte { return appendRef(b, refBorrow, e.ID, d.self) })
	case owner.EffUnborrow:
		d.toPeer(e.Node, func(b []byte) []byte { return appendRef(b, refUnborrow, e.ID, d.self) })
	case owner.EffAsk:
		d.toPeer(e.Node, func(b []byte) []byte { return appendRef(b, refAsk, e.ID, d.self) })
	case owner.EffFreeRemote:
		d.toPeer(e.Node, func(b []byte) []byte { return appendRef(b, refFree, e.ID, d.self) })
	case owner.EffLocLost:
		d.toPeer(e.Node, func(b []byte) []byte { return appendRef(b, refLocLost, e.ID, e.Loc) })
	case owner.EffTell:
		d.tell(e.Node, e.Object)
	}
}

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

// forward sends an attempt to the node that shall run it.
func (d *daemon) forward(t *owner.Task, node spec.NodeID, inc int) {
	t.Node = node
	p := d.peerOf(node)
	if p.dead {
		d.own.Failed(t, t.Attempt, nodeDied(node), true)
		return
	}
	d.peerKnows(p, t)
	values := make([]owner.Value, 0, len(t.Deps))
	var nested []spec.Ref
	for _, dep := range t.Deps {
		o := d.own.Object(dep.ID)
		if o == nil || !o.Known() {
			values = append(values, owner.Value{Where: owner.Remote})
			continue
		}
		values = append(values, snapshot(o))
		nested = append(nested, o.Nested...)
	}
	// The arguments themselves are pinned by the task until it ends.
	d.toPeer(node, func(b []byte) []byte {
		return appendTask(b, &t.Spec, t.Attempt, inc, uint64(t.Client), values, d.self)
	})
}

// peerKnows sends what a peer must have before a task: job, code, template.
func (d *daemon) peerKnows(p *peer, t *owner.Task) {
	if id := t.ID.JobID(); !p.sentJobs[id] {
		p.sentJobs[id] = true
		if j := d.jobs[id]; j != nil {
			d.toPeer(p.id, func(b []byte) []byte { return wire.AppendJSON(b, pJob, j.info) })
		}
	}
	if f := t.Tmpl.FunctionID; !f.IsZero() && !p.sentExports[f] {
		if code, ok := d.functions[f]; ok {
			p.sentExports[f] = true
			m := wire.Export{ID: f, Code: code}
			d.toPeer(p.id, m.Append)
		}
	}
	if n := t.Tmpl.Num; !p.sentTmpl[n] {
		p.sentTmpl[n] = true
		m := wire.Template{Number: n, JSON: t.Tmpl.JSON}
		job := t.ID.JobID()
		d.toPeer(p.id, func(b []byte) []byte {
			b, at := wire.Begin(b, wire.TTemplate, 0, 0)
			b = append(b, job[:]...)
			b = le.AppendUint32(b, m.Number)
			return wire.End(append(b, m.JSON...), at)
		})
	}
}

func nodeDied(n spec.NodeID) *spec.ErrorInfo {
	return &spec.ErrorInfo{Type: "NodeDiedError", Message: "The task failed because node " + n.String() + ", which ran it, died."}
}

// sendStop tells the node that runs a task to end it.
func (d *daemon) sendStop(t *owner.Task, force bool) {
	d.toPeer(t.Node, func(b []byte) []byte { return appendStop(b, pHalt, t.ID, t.Attempt, force, false) })
}

func (d *daemon) sendConsumed(t *owner.Task, n uint32) {
	d.toPeer(t.Node, func(b []byte) []byte { return wire.AppendConsumed(b, pConsumed, t.ID, n) })
}

// reportRun tells a task's owner on another node how the attempt ended, once
// the owners of the references that it was given know this node.
func (d *daemon) reportRun(r *run, o outcome) {
	if r.from == d.self {
		d.dropForeign(r, &o)
		return
	}
	r.result = &o
	if r.adopted {
		d.sendResult(r)
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
	case pStop:
		return d.peerStop(f.Aux, r)
	case pConsumed:
		id, n, err := wire.DecodeConsumed(f.Type, f.Body)
		d.consumed(id, n)
		return err
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
	kind, argsIn := r.u8(), r.u8()
	tmpl := d.peerOf(from).templates[r.u32()]
	s := &owner.Spec{Kind: kind, ArgsIn: argsIn != 0, Tmpl: tmpl, NReturns: int(r.u32())}
	x := &run{spec: s, from: from, attempt: int(r.u32()), inc: int(r.u32()), caller: r.u64()}
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
	x.pinned = true
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
		if j := d.jobs[s.ID.JobID()]; (j != nil && j.dead) || d.drain != nil || !d.pool.Feasible(c.pool) {
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
		if !d.own.BorrowedBy(id, from) {
			d.toPeer(from, func(b []byte) []byte { return appendRef(b, refUnknown, id, d.self) })
		}
		d.toPeer(from, func(b []byte) []byte { return appendRef(b, refAck, id, d.self) })
	case refAck:
		d.own.BorrowAcked(id)
	case refUnborrow:
		d.own.UnborrowedBy(id, from)
	case refAsk:
		if !d.own.AskedBy(id, from) {
			d.toPeer(from, func(b []byte) []byte { return appendRef(b, refUnknown, id, d.self) })
		}
	case refFree:
		d.own.Unhold(id)
	case refLocLost:
		d.own.LocationLost(id, node)
	case refReceived:
		d.arrived(from, transitKey{object: id})
	case refUnknown:
		d.own.Told(id, owner.Value{Where: owner.Inline, Err: true, Blob: wire.ErrorBlob(&spec.ErrorInfo{Type: "ReferenceCountingAssertionError",
			Message: "object " + id.String() + " was freed by its owner while this node still referred to it", Fields: map[string]any{"object_id": id.String()}})})
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

// nodesUpdate takes rows of the node table that changed.
func (d *daemon) nodesUpdate(ns []spec.Node) {
	for _, n := range ns {
		old := d.nodes[n.ID]
		d.nodes[n.ID] = n
		if n.State == spec.NodeDead && old.State != spec.NodeDead && n.ID != d.self {
			d.nodeDead(n.ID)
		}
	}
	d.placesDue = true
}

// nodeDead drops what depended on a node.
func (d *daemon) nodeDead(id spec.NodeID) {
	p := d.peerOf(id)
	p.dead = true
	if p.cancel != nil {
		p.cancel()
	}
	d.fetcher.Forget(id)
	for k := range p.transit {
		d.arrived(id, k)
	}
	for _, row := range d.away {
		row.slots = slices.DeleteFunc(row.slots, func(s *slot) bool { return s.node == id })
	}
	for _, t := range d.own.NodeDead(id) {
		if r, _ := t.Run.(*run); r != nil {
			r.row, r.slot = nil, nil
		}
		if t.Kind == owner.KindTask {
			d.own.Failed(t, t.Attempt, nodeDied(id), true)
		}
	}
	for _, r := range d.runs {
		if r.task == nil && r.from == id {
			d.stopRun(r, true)
		}
	}
}

// serveBulk answers requests for object bytes.
func (d *daemon) dialBulk(ctx context.Context, id spec.NodeID) (net.Conn, error) {
	return wire.Dialer{Auth: d.auth}.Dial(ctx, d.addressOf(id), wire.KindBulk)
}

// pull brings a copy of an object here.
func (d *daemon) pull(o *owner.Object) {
	id, locs := o.ID, slices.Clone(o.Locs)
	d.tasks.Go(func() {
		var size uint64
		err := fmt.Errorf("no node has it")
		var failed []spec.NodeID
		for _, n := range locs {
			if size, err = d.fetcher.Fetch(d.ctx, n, id); err == nil {
				break
			}
			failed = append(failed, n)
			if d.ctx.Err() != nil {
				return
			}
		}
		d.locked(func() {
			switch {
			case err == nil:
				if !d.own.Pulled(id, 0, size) {
					if o := d.own.Object(id); o == nil || o.Where != owner.Arena {
						d.store.Delete(id)
					}
				}
			case storeError(err).Type != "RaySystemError":
				d.own.PulledInline(id, owner.Value{Where: owner.Inline, Err: true, Blob: wire.ErrorBlob(storeError(err))})
			default:
				d.log.Warn("object could not be fetched", "object", id, "err", err)
				d.own.PullFailed(id, failed)
			}
		})
	})
}
