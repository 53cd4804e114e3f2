package node

import (
	"fmt"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// Frames by which a draining node leaves what it owns to its heir: estateOpen,
// one estateObject each, estateClose; the heir answers estateTaken or
// estateRefused.
const (
	estateOpen = iota
	estateObject
	estateClose
	estateTaken
	estateRefused
)

// lastMoment is how long before the deadline of a drain the node hands over
// what it owns even if it is still busy; shorter drains use a third.
const lastMoment = 5 * time.Second

// offerAgain is how often the owner of a copy is asked to take it.
const offerAgain = 2 * time.Second

// estate is what a draining node leaves behind.
type estate struct {
	heir    spec.NodeID
	done    bool     // the heir has taken it
	later   []func() // words about frozen objects, if the heir dies
	refused map[spec.NodeID]bool
	offered map[spec.ObjectID]time.Time
}

// legacy is what this node takes over from another.
type legacy struct{ left int }

// settleEstate takes the next step of a drain: it offers the primary copies
// that are held for other nodes to these, and leaves to an heir what is owned
// here once no more of it is being made.
func (d *daemon) settleEstate(now time.Time) {
	e := &d.estate
	if d.drain == nil || d.cfg.Head {
		return
	}
	d.offerCopies(now)
	if !e.heir.IsZero() || len(d.legacies) > 0 || !d.own.Owns() {
		return
	}
	if !(d.own.Final() && d.quiet()) && !d.atLast(now) {
		return
	}
	if e.heir = d.chooseHeir(); e.heir.IsZero() {
		return
	}
	d.log.Info("objects are left to another node", "heir", e.heir)
	d.toPeer(e.heir, func(b []byte) []byte { return appendEstate(b, estateOpen, nil) })
	for _, q := range d.own.Bequeath() {
		d.hold(e.heir, transitKey{object: q.ID}, q.Value.Refs)
		d.toPeer(e.heir, func(b []byte) []byte { return appendBequest(b, &q, d.self) })
	}
	d.toPeer(e.heir, func(b []byte) []byte { return appendEstate(b, estateClose, nil) })
}

// quiet tells whether nothing runs here that could make objects.
func (d *daemon) quiet() bool {
	if d.tasksHere()+len(d.hosted) > 0 {
		return false
	}
	for _, c := range d.clients {
		if c.worker == nil {
			return false
		}
	}
	return true
}

// atLast tells whether the deadline of the drain is near.
func (d *daemon) atLast(now time.Time) bool {
	if d.drain.DeadlineMS == 0 {
		return false
	}
	end := time.UnixMilli(d.drain.DeadlineMS)
	return now.After(end.Add(-min(lastMoment, end.Sub(d.drainAt)/3)))
}

// chooseHeir is the node with the largest store that stays.
func (d *daemon) chooseHeir() (heir spec.NodeID) {
	var most spec.Fixed = -1
	for id, n := range d.nodes {
		if id == d.self || n.State != spec.NodeAlive || d.estate.refused[id] {
			continue
		}
		if has := n.Total["object_store_memory"]; has > most || has == most && id.String() < heir.String() {
			heir, most = id, has
		}
	}
	return heir
}

// offerCopies asks the owners of copies that are held for them to take these.
func (d *daemon) offerCopies(now time.Time) {
	e := &d.estate
	d.own.Objects(func(o *owner.Object) bool {
		if o.Held() && now.Sub(e.offered[o.ID]) > offerAgain {
			if e.offered == nil {
				e.offered = map[spec.ObjectID]time.Time{}
			}
			e.offered[o.ID] = now
			d.toPeer(o.Owner, func(b []byte) []byte { return appendRef(b, refTake, o.ID, d.self) })
		}
		return true
	})
}

// leaves says why a draining node that has nothing else to do is not idle.
func (d *daemon) leaves() string {
	e := &d.estate
	switch {
	case d.drain == nil || d.cfg.Head || e.heir.IsZero():
		return ""
	case !e.done || len(d.peerOf(e.heir).transit) > 0:
		return fmt.Sprintf("it hands its objects over to node %s", e.heir)
	}
	return ""
}

// heir is the node that has taken over what was owned here; zero: none yet.
func (d *daemon) heir() (id spec.NodeID) {
	if d.estate.done {
		id = d.estate.heir
	}
	return id
}

// heirFailed makes this node the owner again of what the heir has not taken.
func (d *daemon) heirFailed() {
	e := &d.estate
	later := e.later
	e.heir, e.later = spec.NodeID{}, nil
	d.own.Thaw()
	for _, f := range later {
		f()
	}
}

// word serves another node's word about an object, unless the object is being
// handed over (then if that fails) or is not ours any more: its owner hears it
// again once the node knows the heir.
func (d *daemon) word(id spec.ObjectID, f func()) {
	switch {
	case d.own.Frozen(id):
		d.estate.later = append(d.estate.later, f)
	case !d.own.Disowned(id):
		f()
	}
}

// takeCopy makes a copy of an object owned here that replaces the one that a
// draining node holds.
func (d *daemon) takeCopy(id spec.ObjectID, from spec.NodeID) {
	o := d.own.Object(id)
	if o == nil || !o.Owned() || o.Where == owner.Inline {
		d.toPeer(from, func(b []byte) []byte { return appendRef(b, refFree, id, d.self) })
		return
	}
	d.bringPrimary(id, from, func() {})
}

// bringPrimary brings an object that is owned here into this node's store, to
// stay there instead of on another node, and then calls done.
func (d *daemon) bringPrimary(id spec.ObjectID, instead spec.NodeID, done func()) {
	ended := func(o *owner.Object) {
		if o.Where == owner.Arena && !d.store.Keep(id) { // it was evicted just now
			d.after(pullPause, func() { d.locked(func() { d.bringPrimary(id, instead, done) }) })
			return
		}
		d.own.MakePrimary(id, instead)
		done()
	}
	o := d.own.Object(id)
	if o == nil {
		done()
		return
	}
	if !d.own.Bring(spec.Ref{ID: id}, ended) {
		ended(o)
	}
}

// peerEstate serves the frames of a handover.
func (d *daemon) peerEstate(from spec.NodeID, op uint16, r *reader) error {
	l := d.legacies[from]
	switch op {
	case estateOpen:
		if d.drain == nil {
			d.legacies[from] = &legacy{left: 1}
		}
	case estateObject:
		q := r.bequest()
		if !r.ok {
			return wire.ErrMalformed
		}
		if l == nil {
			return nil
		}
		l.left++
		token := func(*owner.Object) { d.bringPrimary(q.ID, from, func() { d.inherited(from, l) }) }
		if !d.own.Inherit(from, q, token) {
			token(nil)
		}
		d.own.Adopt(from, q.Value.Refs, adoptTaken{from, transitKey{object: q.ID}})
	case estateClose:
		if l == nil {
			d.toPeer(from, func(b []byte) []byte { return appendEstate(b, estateRefused, nil) })
			return nil
		}
		d.inherited(from, l)
	case estateTaken:
		if from == d.estate.heir && !d.estate.done {
			d.estate.done, d.estate.later = true, nil
			d.own.HandedOver(from)
			d.wakeTicker()
		}
	case estateRefused:
		if from == d.estate.heir && !d.estate.done {
			if d.estate.refused == nil {
				d.estate.refused = map[spec.NodeID]bool{}
			}
			d.estate.refused[from] = true
			for k := range d.peerOf(from).transit {
				d.arrived(from, k)
			}
			d.heirFailed()
		}
	}
	return nil
}

// inherited counts one object of a legacy, or its end.
func (d *daemon) inherited(from spec.NodeID, l *legacy) {
	if l.left--; l.left > 0 || d.legacies[from] != l {
		return
	}
	delete(d.legacies, from)
	d.toPeer(from, func(b []byte) []byte { return appendEstate(b, estateTaken, nil) })
}

// setHeirs takes the cluster's word of who has left what it owned to whom.
func (d *daemon) setHeirs(ns []spec.Node) {
	for i := range ns {
		if !ns[i].Heir.IsZero() && ns[i].ID != d.self {
			d.own.NoteHeir(ns[i].ID, ns[i].Heir)
		}
	}
	for i := range ns {
		if !ns[i].Heir.IsZero() {
			d.own.SetHeir(ns[i].ID, ns[i].Heir)
		}
	}
}

func appendEstate(b []byte, op uint16, body []byte) []byte {
	b, at := wire.Begin(b, pEstate, 0, op)
	return wire.End(append(b, body...), at)
}

func appendBequest(b []byte, q *owner.Bequest, self spec.NodeID) []byte {
	b, at := wire.Begin(b, pEstate, 0, estateObject)
	b = append(b, q.ID[:]...)
	b = le.AppendUint16(b, uint16(len(q.Borrowers)))
	for _, n := range q.Borrowers {
		b = append(b, n[:]...)
	}
	b = le.AppendUint16(b, uint16(len(q.Site)))
	b = append(b, q.Site...)
	return wire.End(appendRemoteValue(b, &q.Value, self), at)
}

func (r *reader) bequest() (q owner.Bequest) {
	q.ID = r.object()
	for range r.u16() {
		if p := r.take(spec.NodeIDSize); r.ok {
			q.Borrowers = append(q.Borrowers, spec.NodeID(p))
		}
	}
	q.Site = string(r.bytes(r.u16()))
	q.Value = r.value()
	return q
}
