package head

import (
	"time"

	"ray/internal/gcs"
	"ray/internal/scheduler"
	"ray/internal/spec"
	"ray/internal/wire"
)

// Timing of the global scheduler.
const (
	grantValid = time.Second
	// promiseHolds is how long a grant counts against a node whose heartbeat
	// may have been sent before the tasks arrived.
	promiseHolds = 100 * time.Millisecond
	// actorHolds is the same for an actor, which its owner sends on: only if
	// it got lost on the way is this long.
	actorHolds = 5 * time.Second
	// A round may follow the last at once if that one was cheap; rounds that
	// take long leave most of the time to others.
	roundRest    = 5 // times as long as it took
	roundRestMax = 20 * time.Millisecond
	roundEvery   = 500 * time.Millisecond
	refusedMin   = 20 * time.Millisecond
	refusedMax   = time.Second
	maxRefused   = 10_000 // keys remembered
)

// backoff holds back what a node has refused.
type backoff struct {
	pause time.Duration
	until time.Time
}

// backOff makes the next try of a group or actor wait. Needs h.mu.
func (h *Head) backOff(key any) {
	if len(h.refused) > maxRefused {
		clear(h.refused) // of actors that ended before they started
	}
	b := h.refused[key]
	if b == nil {
		b = &backoff{pause: refusedMin / 2}
		h.refused[key] = b
	}
	pause := min(2*b.pause, refusedMax)
	b.pause, b.until = pause, time.Now().Add(pause)
	h.work.Go(func() {
		t := time.NewTimer(pause)
		defer t.Stop()
		select {
		case <-t.C:
			h.kick()
		case <-h.ctx.Done():
		}
	})
}

func (h *Head) heldBack(key any, now time.Time) bool {
	b := h.refused[key]
	return b != nil && now.Before(b.until)
}

// kick asks for a round of the scheduler soon.
func (h *Head) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// somethingWaits tells whether a change of a node's resources matters. Needs h.mu.
func (h *Head) somethingWaits() bool {
	return len(h.askers) > 0 || h.tables.ActorsWait() || h.tables.GroupsWait()
}

func (h *Head) scheduleLoop() {
	every := time.NewTicker(roundEvery)
	defer every.Stop()
	gap := time.NewTimer(0)
	defer gap.Stop()
	promise := time.NewTimer(time.Hour)
	defer promise.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.wake:
		case <-every.C:
		case <-promise.C: // what waits for these resources is looked at when the promise is over
		}
		began := time.Now()
		if next := h.round(began); !next.IsZero() {
			promise.Reset(time.Until(next) + time.Millisecond)
		}
		gap.Reset(min(roundRest*time.Since(began), roundRestMax))
		select {
		case <-h.ctx.Done():
			return
		case <-gap.C:
		}
	}
}

// round gives places to what waits: actors, groups, then tasks. next is when
// the first promise ends; zero if there is none.
func (h *Head) round(now time.Time) (next time.Time) {
	h.mu.Lock()
	if h.failed != nil {
		h.mu.Unlock()
		return next
	}
	c := h.cluster
	next = c.Expire(now)
	c.Begin()
	h.seeGroups()
	change := h.placeActors(c, now)
	change.Merge(h.placeGroups(c, now))
	if len(change.Writes)+len(change.Effects) > 0 {
		h.commit(change, nil)
	}
	notes := h.placeRows(c, now)
	h.mu.Unlock()
	for _, n := range notes {
		_ = n.peer.Notify(wire.MethodGrants, n.grants, nil) // a lost session has lost its rows too
	}
	h.wakeAutoscaler()
	return next
}

// seeGroups shows the scheduler the placement groups that have changed. Needs h.mu.
func (h *Head) seeGroups() {
	for _, g := range h.tables.TakeChangedGroups() {
		h.seeGroup(&g)
	}
}

// seeGroup needs h.mu.
func (h *Head) seeGroup(g *gcs.Group) {
	id := g.Info.ID
	if g.Info.State == spec.PGRemoved {
		delete(h.cluster.Groups, id)
		return
	}
	nodes := g.Info.Nodes
	if len(nodes) == 0 {
		nodes = make([]spec.NodeID, len(g.Info.Bundles))
	}
	h.cluster.Groups[id] = scheduler.Group{State: g.Info.State, Nodes: nodes, Bundles: g.Info.Bundles, Hopeless: h.giveUp[id].why}
}

// seeNode shows the scheduler a node as it is now: one that is dead, has no
// session or has not come back to this head is no choice. Needs h.mu.
func (h *Head) seeNode(id spec.NodeID) {
	n, ok := h.tables.Node(id)
	s := h.soft[id]
	if !ok || n.State == spec.NodeDead || s == nil || !s.joined || h.links[id] == nil {
		h.cluster.Remove(id)
		return
	}
	told := toldBy(&s.beat)
	h.cluster.Put(scheduler.Node{
		ID: id, Name: n.Name, Draining: n.State == spec.NodeDraining, Labels: n.Labels, Pythons: n.Pythons,
		Total: told.Total, Available: told.Available, Turnover: told.Turnover, Backlog: told.Backlog, Bandwidth: told.Bandwidth,
	})
}

// toldBy is what a heartbeat tells the scheduler.
func toldBy(b *wire.Heartbeat) scheduler.Told {
	t := scheduler.Told{Total: b.Total, Available: b.Available, Backlog: backlog(b), Bandwidth: b.Bandwidth}
	var actors spec.Resources // that wait for a process, or for tasks to end
	for _, q := range b.Queue {
		switch {
		case q.Actor && q.Queued > 0:
			actors = plus(actors, q.Resources, q.Queued)
		case !q.Actor && q.Running > 0:
			t.Turnover = plus(t.Turnover, q.Resources, q.Running)
		}
	}
	if len(actors) > 0 {
		t.Available = t.Available.Clone()
		for k, v := range actors {
			t.Available[k] -= v
		}
	}
	return t
}

// plus adds times r to sum, which may be nil.
func plus(sum, r spec.Resources, times int) spec.Resources {
	if sum == nil {
		sum = spec.Resources{}
	}
	for k, v := range r {
		sum[k] += v * spec.Fixed(times)
	}
	return sum
}

// backlog estimates how long a node needs for its queue.
func backlog(b *wire.Heartbeat) time.Duration {
	var total time.Duration
	for _, q := range b.Queue {
		mean := time.Duration(q.MeanMicros) * time.Microsecond
		if mean == 0 {
			mean = scheduler.DefaultMean
		}
		slots := 1
		for k, v := range q.Resources {
			if v > 0 {
				slots = max(slots, int(b.Total[k]/v))
			}
		}
		total += mean * time.Duration(q.Queued) / time.Duration(slots)
	}
	return total
}
