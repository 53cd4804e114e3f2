package head

import (
	"slices"
	"time"

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
	roundGap     = 2 * time.Millisecond
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
	b.pause = min(2*b.pause, refusedMax)
	b.until = time.Now().Add(b.pause)
	h.work.Go(func() {
		t := time.NewTimer(b.pause)
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
	for _, s := range h.soft {
		if len(s.rows) > 0 {
			return true
		}
	}
	return h.tables.ActorsWait() || h.tables.GroupsWait()
}

func (h *Head) scheduleLoop() {
	every := time.NewTicker(roundEvery)
	defer every.Stop()
	gap := time.NewTimer(0)
	defer gap.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.wake:
		case <-every.C:
		}
		h.round(time.Now())
		gap.Reset(roundGap)
		select {
		case <-h.ctx.Done():
			return
		case <-gap.C:
		}
	}
}

// round gives places to what waits: actors, groups, then tasks.
func (h *Head) round(now time.Time) {
	h.mu.Lock()
	if h.failed != nil {
		h.mu.Unlock()
		return
	}
	c := h.snapshot(now)
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
}

// snapshot is the cluster as the scheduler sees it. Needs h.mu.
func (h *Head) snapshot(now time.Time) *scheduler.Cluster {
	c := &scheduler.Cluster{Groups: map[spec.PlacementGroupID]scheduler.Group{}}
	for _, n := range h.tables.Nodes() {
		s := h.soft[n.ID]
		if n.State == spec.NodeDead || s == nil || !s.joined || h.links[n.ID] == nil {
			continue
		}
		available := s.beat.Available.Clone()
		if available == nil {
			available = spec.Resources{}
		}
		s.promised = slices.DeleteFunc(s.promised, func(p promise) bool { return now.After(p.until) })
		for _, p := range s.promised {
			available.Sub(p.need)
		}
		c.Nodes = append(c.Nodes, scheduler.Node{
			ID: n.ID, Name: n.Name, Draining: n.State == spec.NodeDraining, Total: s.beat.Total, Available: available,
			Labels: n.Labels, Pythons: n.Pythons, Backlog: backlog(&s.beat),
		})
	}
	for _, g := range h.tables.LivingGroups() {
		nodes := g.Info.Nodes
		if len(nodes) == 0 {
			nodes = make([]spec.NodeID, len(g.Info.Bundles))
		}
		c.Groups[g.Info.ID] = scheduler.Group{State: g.Info.State, Nodes: nodes, Bundles: g.Info.Bundles}
	}
	return c
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
