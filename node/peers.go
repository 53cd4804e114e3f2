package node

import (
	"context"
	"fmt"
	"time"

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
	owes    bool // it has been told of ends of its tasks, and may not have heard

	sentTmpl    map[uint32]bool
	sentJobs    map[spec.JobID]bool
	sentExports map[spec.FunctionID]bool

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
	if _, known := d.nodes[id]; !known {
		d.meet(id, time.Now())
	}
	return p
}

// notOfHere is how a node ended that this cluster has never had.
const notOfHere = "is no node of this cluster: the reference is of another cluster, or of an earlier one"

// meet gives up a node that the head does not know: a reference may have been
// kept over the end of the cluster in which it was made. The head announces a
// node before any reference of it can travel, so an answer of the head to
// something sent a while after the first mention comes too late for a node
// that exists.
func (d *daemon) meet(id spec.NodeID, since time.Time) {
	const settled = 2 * time.Second // over the pauses in which the head gathers changes
	d.after(settled/4, func() {
		d.locked(func() {
			if _, known := d.nodes[id]; known {
				return
			}
			if d.lease.from.Sub(since) < settled {
				d.meet(id, since)
				return
			}
			d.nodes[id] = spec.Node{NodeInfo: spec.NodeInfo{ID: id}, State: spec.NodeDead, DeathReason: notOfHere}
			d.nodeDead(id)
		})
	})
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

// addressOf takes the lock.
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
	case owner.EffKeep:
		if e.Node == d.self {
			d.own.Keep(e.ID, func() bool { return d.store.Keep(e.ID) })
			return
		}
		d.toPeer(e.Node, func(b []byte) []byte { return appendRef(b, refKeep, e.ID, d.self) })
	case owner.EffConfirm:
		d.toPeer(e.Node, func(b []byte) []byte { return appendRef(b, refConfirm, spec.ObjectID{}, e.Loc) })
	case owner.EffHeld:
		d.toPeer(e.Node, func(b []byte) []byte { return appendRef(b, refHeld, e.ID, d.self) })
	case owner.EffTell:
		d.tell(e.Node, e.Object)
	}
}

// forward sends an attempt to the node that shall run it.
func (d *daemon) forward(t *owner.Task, node spec.NodeID, inc int) {
	t.Node = node
	p := d.peerOf(node)
	if p.dead {
		d.own.Failed(t, t.Attempt, d.nodeDied(node), true)
		return
	}
	d.peerKnows(p, t)
	values := make([]owner.Value, 0, len(t.Deps))
	for _, dep := range t.Deps {
		o := d.own.Object(dep.ID)
		if o == nil || !o.Known() {
			values = append(values, owner.Value{Where: owner.Remote})
			continue
		}
		values = append(values, snapshot(o))
	}
	var flags uint8
	if r, ok := t.Run.(*run); ok {
		flags = bit(r.granted)*taskGranted | bit(r.room)*taskRoom
		r.granted = false
	}
	// The arguments themselves are pinned by the task until it ends.
	d.toPeer(node, func(b []byte) []byte {
		return appendTask(b, &t.Spec, flags, t.Attempt, inc, uint64(t.Client), values, d.self)
	})
	if t.Tmpl.Streaming && t.Consumed > 0 { // by the reader of an earlier attempt
		d.sendConsumed(t, t.Consumed)
	}
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

// sendStop tells the node that runs a task to end it.
func (d *daemon) sendStop(t *owner.Task, force bool) {
	d.toPeer(t.Node, func(b []byte) []byte { return appendStop(b, pHalt, t.ID, t.Attempt, force, false) })
}

func (d *daemon) sendConsumed(t *owner.Task, n uint32) {
	d.toPeer(t.Node, func(b []byte) []byte { return wire.AppendConsumed(b, pConsumed, t.ID, n) })
}
