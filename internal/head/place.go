package head

import (
	"fmt"
	"time"

	"ray/internal/gcs"
	"ray/internal/scheduler"
	"ray/internal/spec"
)

// placeActors starts waiting actors. Needs h.mu.
func (h *Head) placeActors(c *scheduler.Cluster, now time.Time) (change gcs.Change) {
	// Of a thousand equal actors only so many find a place in one round: when
	// one has found none, nor will those that came after it.
	full := map[string]string{} // what was asked for → why it waits
	for _, a := range h.tables.WaitingActors() {
		id := a.Info.ID
		if h.heldBack(id, now) || h.waitsForReturn(a.Info.Owner) {
			continue
		}
		row := scheduler.Row{
			Resources: a.Create.Placement, LabelSelector: a.Create.LabelSelector, Fallback: a.Create.Fallback,
			Strategy: a.Create.Strategy, Count: 1, Actor: true, Python: a.Create.Python, Inputs: inputs(a.Create.Inputs),
		}
		mayQueue := h.mayQueue(a, now)
		key := plainKey(&row, mayQueue)
		if why, known := full[key]; known {
			change.Merge(h.tables.ActorWaits(id, why))
			continue
		}
		answer, room := c.Place(row, h.random), refusals(a) < refusalsMost
		if len(answer.Grants) == 0 && answer.Error == nil && !answer.Infeasible && mayQueue {
			if node, ok := c.PlaceBehind(row, h.random); ok {
				answer = scheduler.Answer{Grants: []scheduler.Grant{{Node: node, Count: 1}}}
				room = false
			}
		}
		switch {
		case answer.Error != nil:
			change.Merge(h.tables.FailActor(id, answer.Error, h.now()))
		case len(answer.Grants) > 0:
			node := answer.Grants[0].Node
			h.promise(node, scheduler.Promise{Need: a.Create.Placement, Times: 1, Tasks: true, Until: now.Add(actorHolds)}, now)
			change.Merge(h.tables.PlaceActor(id, node, room))
		default:
			reason := h.explain(answer, spec.Demand{Resources: a.Create.Placement, LabelSelector: a.Create.LabelSelector})
			change.Merge(h.tables.ActorWaits(id, reason.Text))
			if key != "" {
				full[key] = reason.Text
			}
		}
	}
	return change
}

// refusalsMost is how often an actor is refused by nodes that have begun
// something else since their last word. After that it waits where it is sent:
// on nodes whose tasks follow each other without a gap it would else never begin.
const refusalsMost = 3

// refusals are the places that were not taken: each was an incarnation.
func refusals(a gcs.Actor) int { return a.Info.Incarnation - a.Info.Restarts }

// plainKey is the same for actors that the same nodes suit equally well; "" for
// one that asks for more than resources and an interpreter.
func plainKey(r *scheduler.Row, mayQueue bool) string {
	if len(r.LabelSelector)+len(r.Fallback)+len(r.Inputs) > 0 || (r.Strategy.Kind != "" && r.Strategy.Kind != spec.StrategyDefault) {
		return ""
	}
	return fmt.Sprint(r.Resources.Key(), "|", r.Python, "|", mayQueue)
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

// waitsForReturn tells that after a restart the owner of an actor, who knows
// whether it still runs somewhere, has not registered yet. Needs h.mu.
func (h *Head) waitsForReturn(owner spec.NodeID) bool {
	s := h.soft[owner]
	return !h.recovering.IsZero() && s != nil && !s.joined
}

// placeGroups plans groups with unplaced bundles. Needs h.mu.
func (h *Head) placeGroups(c *scheduler.Cluster, now time.Time) (change gcs.Change) {
	for _, g := range h.tables.WaitingGroups() {
		id := g.Info.ID
		// A group of before the restart may still be where it was.
		if h.heldBack(id, now) || !h.recovering.IsZero() && g.Info.Attempts > 0 {
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
			h.tables.GroupWaits(id, h.judgeGroup(&g, reason, infeasible, now), infeasible)
			continue
		}
		delete(h.giveUp, id)
		for i, node := range plan {
			if fixed[i].IsZero() {
				h.promise(node, scheduler.Promise{Need: g.Info.Bundles[i], Times: 1}, now)
			}
		}
		change.Merge(h.tables.PlanGroup(id, plan))
	}
	return change
}

// promise counts a grant against a node until its heartbeats show it. Needs h.mu.
func (h *Head) promise(node spec.NodeID, p scheduler.Promise, now time.Time) {
	if p.Until.IsZero() {
		p.Until = now.Add(promiseHolds)
	}
	h.cluster.Promise(node, p)
}

// kept ends the promise of a bundle that the node has reserved: its heartbeat
// has said so. Needs h.mu.
func (h *Head) kept(node spec.NodeID, need spec.Resources) {
	if h.cluster.Kept(node, need) {
		h.kick()
	}
}
