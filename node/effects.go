package node

import (
	"errors"

	"ray/internal/objectstore"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// ownerEffect carries out one decision of the owner.
func (d *daemon) ownerEffect(e *owner.Effect) {
	switch e.Kind {
	case owner.EffRun:
		d.schedule(e.Task)
	case owner.EffPush:
		d.push(e.Client, e.Task)
	case owner.EffItem:
		d.pushItem(e)
	case owner.EffObj:
		d.deliver(e)
	case owner.EffReady:
		k := readyKey{e.Client, e.Request}
		d.scratch.ready[k] = append(d.scratch.ready[k], e.Index)
	case owner.EffHere:
		d.argHere(e.Token, e.Object)
	case owner.EffPull:
		d.pull(e.Object)
	case owner.EffFree:
		d.store.Delete(e.ID)
	case owner.EffFailed:
		d.events.failed(d, e.Task, e.Token.(*spec.ErrorInfo))
	case owner.EffStop:
		d.stopTask(e.Task, e.Force)
	case owner.EffCreate:
		d.createActor(e.Task)
	case owner.EffCreateFailed:
		d.creationFailed(e.Task, e.Token.([]byte))
	case owner.EffStart:
		d.startActor(e.Task, e.Node, int(e.Index), e.Token.(bool))
	case owner.EffWatch:
		d.watchActor(e.Actor.ID)
	case owner.EffCall:
		d.sendCall(e.Task, e.Node, int(e.Index))
	case owner.EffUnreferenced:
		d.head.tell(wire.MethodActorUnreferenced, wire.ActorRef{ActorID: e.Actor.ID})
	case owner.EffAbandoned:
		d.head.tell(wire.MethodActorKill, wire.ActorKill{ActorID: e.Actor.ID, NoRestart: true,
			Reason: "the process that called it has died, and nothing else refers to it"})
	case owner.EffAdopted:
		d.adopted(e.Adoption)
	default:
		d.peerEffect(e)
	}
}

// value is an object as it goes to a client. An arena's copy is only named
// where the caller has pinned it.
func (d *daemon) value(c *client, o *owner.Object) wire.Value {
	if o == nil || o.Where != owner.Inline {
		return wire.Value{Where: wire.Elsewhere}
	}
	d.deliverRefs(c, o.Nested)
	return wire.Value{Where: wire.Inline, Blob: o.Blob, Refs: o.Nested}
}

// deliverRefs counts the references of a frame as deliveries to the client.
func (d *daemon) deliverRefs(c *client, refs []spec.Ref) {
	for _, r := range refs {
		d.own.Deliver(c.num, r, 1)
	}
}

// push tells a task's submitter its results.
func (d *daemon) push(to owner.Client, t *owner.Task) {
	c := d.clients[to]
	if c == nil {
		return
	}
	drop := c.out.Pending() > maxUnread
	p := &d.scratch.push
	p.Flags, p.Items, p.Task, p.Returns = 0, t.Items, t.ID, p.Returns[:0]
	for n := range t.NReturns {
		i := uint32(n + 1)
		v := wire.Value{Where: wire.Elsewhere}
		if !drop {
			v = d.value(c, d.own.Object(t.ID.Return(i)))
		}
		p.Returns = append(p.Returns, wire.IndexedValue{Index: i, Value: v})
	}
	c.out.Append(p.Append)
	d.mark(c)
}

// pushItem tells a stream's consumer one item.
func (d *daemon) pushItem(e *owner.Effect) {
	c := d.clients[e.Client]
	if c == nil {
		return
	}
	v := wire.Value{Where: wire.Elsewhere}
	if c.out.Pending() <= maxUnread {
		v = d.value(c, d.own.Object(e.ID))
	}
	p := &d.scratch.push
	p.Flags, p.Items, p.Task = wire.PushItem, e.Task.Items, e.Task.ID
	p.Returns = append(p.Returns[:0], wire.IndexedValue{Index: e.Index, Value: v})
	c.out.Append(p.Append)
	d.mark(c)
}

// answer makes a callback for the store, which calls it at once or later from
// a goroutine of its own: it only uses the connection's buffer.
func (d *daemon) answer(c *client, f func(b []byte, off uint64, warm bool, err error) []byte) func(objectstore.Alloc, error) {
	return func(a objectstore.Alloc, err error) {
		c.out.Append(func(b []byte) []byte { return f(b, a.Offset, a.Warm, err) })
		d.late(c)
	}
}

// late flushes a connection from outside a batch; inside one it is marked
// dirty anyway and one early write does no harm.
func (d *daemon) late(c *client) { _ = c.out.Flush() }

func storeError(err error) *spec.ErrorInfo {
	var info *spec.ErrorInfo
	switch {
	case errors.As(err, &info):
		return info
	case errors.Is(err, objectstore.ErrDiskFull):
		return &spec.ErrorInfo{Type: "OutOfDiskError", Message: err.Error()}
	case errors.Is(err, objectstore.ErrFull):
		return &spec.ErrorInfo{Type: "ObjectStoreFullError", Message: err.Error()}
	}
	return &spec.ErrorInfo{Type: "RaySystemError", Message: err.Error()}
}

// flushReady writes one READY for each WAIT that got answers in this batch.
func (d *daemon) flushReady() {
	if len(d.scratch.ready) == 0 {
		return
	}
	for k, list := range d.scratch.ready {
		if c := d.clients[k.client]; c != nil {
			m := wire.Ready{Request: k.request, Indices: list}
			c.out.Append(m.Append)
			d.mark(c)
		}
	}
	clear(d.scratch.ready)
}

// begunSeq reads which task a worker had begun and not ended.
func (d *daemon) begunSeq(c *client) uint32 {
	if c == nil || c.slot < 0 {
		return 0
	}
	return uint32(d.store.ReadSlot(c.slot))
}
