package node

import (
	"slices"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// Pauses between tries to reach a node that has an object and does not
// answer: it is back soon, or the head declares it dead.
const (
	pullPause    = 20 * time.Millisecond
	pullPauseMax = time.Second
)

// pulling is one wish for a copy; a later one of the same object ends it.
type pulling struct {
	id    spec.ObjectID
	pause time.Duration
}

// pull brings a copy of an object here.
func (d *daemon) pull(o *owner.Object) {
	p := &pulling{id: o.ID, pause: pullPause}
	d.pulls[p.id] = p
	d.pullFrom(p, slices.Clone(o.Locs))
}

// pullFrom tries each of the nodes that are said to have the object.
func (d *daemon) pullFrom(p *pulling, locs []spec.NodeID) {
	// A node may have been told of a copy after it heard of its node's end.
	gone := func(n spec.NodeID) bool { return d.nodes[n].State == spec.NodeDead }
	without := slices.DeleteFunc(slices.Clone(locs), func(n spec.NodeID) bool { return !gone(n) })
	living := slices.DeleteFunc(slices.Clone(locs), gone)
	d.goes(func() {
		size, unknown, err := d.fetcher.Fetch(d.ctx, p.id, living)
		if err != nil && d.ctx.Err() != nil {
			return
		}
		without = append(without, unknown...)
		d.locked(func() { d.pullEnded(p, size, err, without, len(without) < len(locs)) })
	})
}

// pullEnded takes the outcome of one round; again: some nodes did not answer.
func (d *daemon) pullEnded(p *pulling, size uint64, err error, without []spec.NodeID, again bool) {
	mine := d.pulls[p.id] == p
	o := d.own.Object(p.id)
	switch {
	case err == nil:
		if mine {
			delete(d.pulls, p.id)
		}
		if !d.own.Pulled(p.id, 0, size) && (o == nil || o.Where != owner.Arena) {
			d.store.Delete(p.id)
		}
	case !mine:
	case o == nil || o.Where != owner.Remote || !o.Pulling():
		delete(d.pulls, p.id)
	case storeError(err).Type != "RaySystemError":
		delete(d.pulls, p.id)
		d.own.PullRefused(p.id, wire.ErrorBlob(storeError(err)))
	case !again:
		d.log.Warn("object could not be fetched", "object", p.id, "err", err)
		delete(d.pulls, p.id)
		d.own.PullFailed(p.id, without)
	default:
		d.log.Debug("object is fetched again", "object", p.id, "err", err)
		wait := p.pause
		p.pause = min(2*p.pause, pullPauseMax)
		d.after(wait, func() { d.locked(func() { d.pullAgain(p) }) })
	}
}

// pullAgain starts the next round, unless nobody wants the object any more or
// another pull has taken over.
func (d *daemon) pullAgain(p *pulling) {
	if d.pulls[p.id] != p {
		return
	}
	o := d.own.Object(p.id)
	if o == nil || o.Where != owner.Remote || !o.Pulling() {
		delete(d.pulls, p.id)
		return
	}
	d.pullFrom(p, slices.Clone(o.Locs))
}
