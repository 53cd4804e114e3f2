package head

import (
	"cmp"
	"maps"
	"slices"
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
	roundGap     = 2 * time.Millisecond
	roundEvery   = 500 * time.Millisecond
	refusedMin   = 20 * time.Millisecond
	refusedMax   = time.Second
)

// backoff holds back what a node has refused.
type backoff struct {
	pause time.Duration
	until time.Time
}

// backOff makes the next try of a group or actor wait. Needs h.mu.
func (h *Head) backOff(key any) {
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
	return h.tables.ActorsWait() || slices.ContainsFunc(h.tables.Groups(), func(g gcs.Group) bool { return g.Waiting() })
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
	for _, g := range h.tables.Groups() {
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

// placeActors starts waiting actors. Needs h.mu.
func (h *Head) placeActors(c *scheduler.Cluster, now time.Time) (change gcs.Change) {
	var busy *scheduler.Cluster // made when needed
	for _, a := range h.tables.WaitingActors() {
		id := a.Info.ID
		if h.heldBack(id, now) || h.waitsForReturn(a.Info.Owner) {
			continue
		}
		row := scheduler.Row{
			Resources: a.Create.Placement, LabelSelector: a.Create.LabelSelector, Fallback: a.Create.Fallback,
			Strategy: a.Create.Strategy, Count: 1, Actor: true, Python: a.Create.Python, Inputs: inputs(a.Create.Inputs),
		}
		answer := c.Place(row, h.random)
		if len(answer.Grants) == 0 && answer.Error == nil && !answer.Infeasible && h.mayQueue(a, now) {
			if busy == nil {
				busy = h.withTurnover(c)
			}
			if behind := busy.Place(row, h.random); len(behind.Grants) > 0 {
				answer = behind
			}
		}
		switch {
		case answer.Error != nil:
			change.Merge(h.tables.FailActor(id, answer.Error, h.now()))
		case len(answer.Grants) > 0:
			node := answer.Grants[0].Node
			h.promise(node, a.Create.Placement, a.Create.Strategy, 1, now)
			change.Merge(h.tables.PlaceActor(id, node))
		default:
			reason := h.explain(answer, spec.Demand{Resources: a.Create.Placement, LabelSelector: a.Create.LabelSelector})
			change.Merge(h.tables.ActorWaits(id, reason.Text))
		}
	}
	return change
}

// How long an actor waits for a node with room before it may queue on one
// whose tasks will make some: tasks that follow each other without a gap must
// not starve it. A cluster that can grow is given more time to.
const (
	queueAfter         = 50 * time.Millisecond
	queueAfterGrowable = 10 * time.Second
)

// mayQueue needs h.mu.
func (h *Head) mayQueue(a gcs.Actor, now time.Time) bool {
	wait := queueAfter
	if h.scaler != nil {
		if _, served := h.scaler.explain(spec.Demand{Resources: a.Create.Placement, LabelSelector: a.Create.LabelSelector}); served {
			wait = queueAfterGrowable
		}
	}
	return a.Info.State == spec.ActorRestarting || now.Sub(time.UnixMilli(a.CreatedMS)) >= wait
}

// withTurnover is the snapshot with what running tasks hold counted as free,
// less what actors that are being started will take. Needs h.mu.
func (h *Head) withTurnover(c *scheduler.Cluster) *scheduler.Cluster {
	out := *c
	out.Nodes = slices.Clone(c.Nodes)
	starting := h.tables.StartingActors()
	for i := range out.Nodes {
		n := &out.Nodes[i]
		n.Available = n.Available.Clone()
		for _, q := range h.soft[n.ID].beat.Queue {
			for k, v := range q.Resources {
				n.Available[k] += v * spec.Fixed(q.Running)
			}
		}
		n.Available.Sub(starting[n.ID])
	}
	return &out
}

// waitsForReturn tells that after a restart the owner of an actor, who knows
// whether it still runs somewhere, has not registered yet. Needs h.mu.
func (h *Head) waitsForReturn(owner spec.NodeID) bool {
	s := h.soft[owner]
	return !h.recovering.IsZero() && s != nil && !s.joined
}

// placeGroups plans groups with unplaced bundles. Needs h.mu.
func (h *Head) placeGroups(c *scheduler.Cluster, now time.Time) (change gcs.Change) {
	for _, g := range h.tables.Groups() {
		id := g.Info.ID
		// A group of before the restart may still be where it was.
		if !g.Waiting() || h.heldBack(id, now) || !h.recovering.IsZero() && g.Info.Attempts > 0 {
			continue
		}
		fixed := make([]spec.NodeID, len(g.Bundles))
		for i, r := range g.Bundles {
			fixed[i] = r.Node
		}
		plan, reason, infeasible := c.PlaceBundles(scheduler.BundleRequest{
			Bundles: g.Info.Bundles, Labels: g.Info.Labels, Strategy: g.Info.Strategy, SoftNode: g.Info.SoftNode, Fixed: fixed,
		})
		if plan == nil {
			if infeasible {
				reason = "infeasible now: " + reason
			}
			h.tables.GroupWaits(id, reason)
			continue
		}
		for i, node := range plan {
			if fixed[i].IsZero() {
				h.promise(node, g.Info.Bundles[i], spec.Strategy{}, 1, now)
			}
		}
		change.Merge(h.tables.PlanGroup(id, plan))
	}
	return change
}

// promise counts a grant against a node until its heartbeats show it. Needs h.mu.
func (h *Head) promise(node spec.NodeID, need spec.Resources, s spec.Strategy, times int, now time.Time) {
	n := h.soft[node]
	if n == nil || s.Kind == spec.StrategyPlacementGroup {
		return
	}
	sum := spec.Resources{}
	for k, v := range need {
		sum[k] = v * spec.Fixed(times)
	}
	n.promised = append(n.promised, promise{sum, now.Add(promiseHolds)})
}

// grantNote is what one node gets at the end of a round.
type grantNote struct {
	peer   *wire.Peer
	grants wire.Grants
}

// placeRows gives nodes places for their tasks elsewhere, beginning with
// another node each time. Needs h.mu.
func (h *Head) placeRows(c *scheduler.Cluster, now time.Time) (notes []grantNote) {
	ids := slices.SortedFunc(maps.Keys(h.links), func(a, b spec.NodeID) int { return slices.Compare(a[:], b[:]) })
	if len(ids) > 1 {
		first := h.random.IntN(len(ids))
		ids = append(ids[first:], ids[:first]...)
	}
	for _, id := range ids {
		s := h.soft[id]
		if s == nil {
			continue
		}
		var out wire.Grants
		for i := range s.rows {
			h.placeRow(c, id, s, &s.rows[i], now, &out)
		}
		s.rows = slices.DeleteFunc(s.rows, func(r wire.PlaceRow) bool { return r.Count <= 0 })
		if len(out.Grants)+len(out.Reasons) > 0 {
			notes = append(notes, grantNote{h.links[id].peer, out})
		}
	}
	return notes
}

func (h *Head) placeRow(c *scheduler.Cluster, from spec.NodeID, s *soft, row *wire.PlaceRow, now time.Time, out *wire.Grants) {
	answer := c.Place(scheduler.Row{
		Resources: row.Resources, LabelSelector: row.LabelSelector, Fallback: row.Fallback, Strategy: row.Strategy,
		Count: row.Count, Python: row.Python, Inputs: inputs(row.Inputs), From: from, Infeasible: row.Infeasible,
		LocalWait: time.Duration(row.LocalWaitMicros) * time.Microsecond, Mean: meanOf(&s.beat, row.Key),
	}, h.random)
	for _, g := range answer.Grants {
		out.Grants = append(out.Grants, wire.Grant{Key: row.Key, Node: g.Node, Count: g.Count, ValidMS: grantValid.Milliseconds()})
		h.promise(g.Node, row.Resources, row.Strategy, g.Count, now)
		row.Count -= g.Count
	}
	reason := wire.Reason{Key: row.Key, Error: answer.Error}
	if answer.Error == nil && row.Count > 0 {
		reason = h.explain(answer, spec.Demand{Resources: row.Resources, LabelSelector: row.LabelSelector})
		reason.Key = row.Key
	}
	if row.Count <= 0 {
		return
	}
	if old, sent := s.reasons[row.Key]; !sent || old.Text != reason.Text || old.Infeasible != reason.Infeasible || (old.Error == nil) != (reason.Error == nil) {
		s.reasons[row.Key] = reason
		out.Reasons = append(out.Reasons, reason)
	}
	if answer.Error != nil {
		row.Count = 0
	}
}

// meanOf is the measured run time of a row's class: the node names its rows as
// its queues, behind one letter.
func meanOf(b *wire.Heartbeat, key string) time.Duration {
	for _, q := range b.Queue {
		if q.Key == key || len(key) > 1 && q.Key == key[1:] {
			return time.Duration(q.MeanMicros) * time.Microsecond
		}
	}
	return 0
}

func inputs(in []wire.Input) []scheduler.Input {
	out := make([]scheduler.Input, len(in))
	for i, x := range in {
		out[i] = scheduler.Input{Size: x.Size, Nodes: x.Nodes}
	}
	return out
}

// explain joins what the scheduler and the autoscaler know about a demand
// that waits. A demand that the autoscaler is about to serve is not
// infeasible. Needs h.mu.
func (h *Head) explain(a scheduler.Answer, d spec.Demand) wire.Reason {
	r := wire.Reason{Text: a.Reason, Infeasible: a.Infeasible}
	if h.scaler == nil || a.Reason == "" {
		return r
	}
	text, served := h.scaler.explain(d)
	if served {
		r.Infeasible = false
	}
	if text != "" {
		r.Text += "; " + text
	}
	return r
}

// scaler is what the head needs of the autoscaler.
type scaler interface {
	// wake asks for a round of planning soon.
	wake()
	// explain says what the autoscaler does about a demand; served tells that
	// some node type can hold it. It must not take the head's lock.
	explain(d spec.Demand) (text string, served bool)
	// fill adds the autoscaler's part to a status.
	fill(s *spec.Status)
	close()
}

// wakeAutoscaler must not be called under h.mu.
func (h *Head) wakeAutoscaler() {
	h.mu.Lock()
	s := h.scaler
	h.mu.Unlock()
	if s != nil {
		s.wake()
	}
}

// demands sums what waits for a place. Needs h.mu.
func (h *Head) demands() []spec.Demand {
	var out []spec.Demand
	for _, a := range h.tables.WaitingActors() {
		if a.Create.Strategy.Kind == spec.StrategyPlacementGroup {
			continue // the group is the demand
		}
		out = append(out, spec.Demand{
			Resources: a.Create.Placement, LabelSelector: a.Create.LabelSelector, Fallback: a.Create.Fallback,
			Count: 1, Kind: "actor", Reason: a.Info.Reason, Name: a.Info.Options.ClassName, JobID: a.Info.JobID,
		})
	}
	for _, s := range h.soft {
		for _, row := range s.rows {
			if row.Strategy.Kind == spec.StrategyPlacementGroup || row.Count <= 0 {
				continue
			}
			out = append(out, spec.Demand{
				Resources: row.Resources, LabelSelector: row.LabelSelector, Fallback: row.Fallback,
				Count: row.Count, Kind: "task", Reason: s.reasons[row.Key].Text, Name: row.Name, JobID: row.JobID,
			})
		}
	}
	slices.SortStableFunc(out, func(a, b spec.Demand) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Resources.Key(), b.Resources.Key()))
	})
	return mergeDemands(out)
}

// mergeDemands sums neighbours that are equal.
func mergeDemands(in []spec.Demand) []spec.Demand {
	out := in[:0]
	for _, d := range in {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if last.Kind == d.Kind && last.Name == d.Name && last.JobID == d.JobID && last.Resources.Key() == d.Resources.Key() &&
				maps.Equal(last.LabelSelector, d.LabelSelector) && len(last.Fallback) == len(d.Fallback) {
				last.Count += d.Count
				continue
			}
		}
		out = append(out, d)
	}
	return out
}
