package node

import (
	"errors"
	"slices"
	"time"

	"ray/internal/objectstore"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// asked is one object of a GET that is being answered, and the references
// inside it that were counted as delivered.
type asked struct {
	c              *client
	request, index uint32
	noPin          bool
	ref            spec.Ref
	nested         []spec.Ref
}

// deliver answers a GET.
func (d *daemon) deliver(e *owner.Effect) {
	c := d.clients[e.Client]
	if c == nil {
		return
	}
	o := e.Object
	m := wire.Obj{Request: e.Request, Index: e.Index}
	if o.Where == owner.Inline {
		m.Value = d.value(c, o)
		c.out.Append(m.Append)
		d.mark(c)
		return
	}
	if e.NoPin && !c.remote {
		m.Value.Where = wire.Elsewhere
		c.out.Append(m.Append)
		d.mark(c)
		return
	}
	d.deliverRefs(c, o.Nested)
	m.Value.Refs = slices.Clone(o.Nested)
	a := asked{c, e.Request, e.Index, e.NoPin, spec.Ref{ID: o.ID, Owner: o.Owner}, m.Value.Refs}
	if c.remote {
		d.deliverBytes(m, a)
		return
	}
	d.store.Get(uint32(c.num), o.ID, func(off, size uint64, err error) {
		if err != nil {
			d.unreadable(a, err)
			return
		}
		m.Value.Where, m.Value.Offset, m.Value.Size = wire.Arena, off, size
		c.out.Append(m.Append)
		d.late(c)
	})
	d.mark(c)
}

// deliverBytes answers a GET of a client that has no arena. Bytes on disk are
// read aside.
func (d *daemon) deliverBytes(m wire.Obj, a asked) {
	send := func() {
		data, release, err := d.store.View(a.ref.ID)
		if err != nil {
			d.unreadable(a, err)
			return
		}
		defer release()
		m.Value.Where, m.Value.Blob = wire.Inline, data
		a.c.out.Append(m.Append)
	}
	if d.store.InMemory(a.ref.ID) {
		send()
		d.mark(a.c)
		return
	}
	d.goes(func() {
		send()
		d.late(a.c)
	})
}

// unreadable deals with a copy that the store has named and cannot give: if
// the copy is lost the object is brought or made again, and the GET goes on.
func (d *daemon) unreadable(a asked, err error) {
	if errors.Is(err, objectstore.ErrClosed) {
		return
	}
	// The store may call this under the daemon's lock.
	d.goes(func() {
		d.locked(func() {
			for _, r := range a.nested {
				d.own.Release(a.c.num, r.ID, 1)
			}
			if d.clients[a.c.num] != a.c {
				return
			}
			if d.copyLost(a.ref.ID, err) {
				d.own.GetAgain(a.c.num, a.request, a.index, a.ref, a.noPin)
				return
			}
			m := wire.Obj{Request: a.request, Index: a.index}
			m.Value.Where, m.Value.Blob = wire.Inline, wire.ErrorBlob(storeError(err))
			a.c.out.Append(m.Append)
			d.mark(a.c)
		})
	})
}

// copyLost tells the owner of an object that this node's copy is gone; false
// if err does not mean that.
func (d *daemon) copyLost(id spec.ObjectID, err error) bool {
	damaged := errors.Is(err, objectstore.ErrDamaged)
	if !damaged && !errors.Is(err, objectstore.ErrUnknown) {
		return false
	}
	if damaged {
		d.log.Error("an object's copy on disk is lost", "object", id, "err", err)
		d.store.Delete(id)
	}
	if !d.store.Has(id) {
		d.own.CopyLost(id, err.Error())
	}
	return true
}

// endOf says for people when and why a node ended.
func (d *daemon) endOf(id spec.NodeID) string {
	n := d.nodes[id]
	if n.DeathReason == notOfHere {
		return notOfHere
	}
	end := time.Now()
	if n.EndMS != 0 {
		end = time.UnixMilli(n.EndMS)
	}
	text := "died at " + end.UTC().Format(time.RFC3339)
	if n.DeathReason != "" {
		text += " (" + n.DeathReason + ")"
	}
	return text
}
