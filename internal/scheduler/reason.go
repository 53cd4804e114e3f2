package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ray/internal/spec"
)

// special answers rows whose strategy names something that is not there.
func (p *placer) special() (Answer, bool) {
	s := p.row.Strategy
	switch s.Kind {
	case spec.StrategyPlacementGroup:
		g, ok := p.c.Groups[s.PlacementGroup]
		if !ok || g.State == spec.PGRemoved {
			kind, what := "TaskPlacementGroupRemoved", "task"
			if p.row.Actor {
				kind, what = "ActorPlacementGroupRemoved", "actor"
			}
			return Answer{Error: &spec.ErrorInfo{Type: kind, Message: fmt.Sprintf("The placement group %s of this %s has been removed.", s.PlacementGroup, what)}}, true
		}
		if s.Bundle >= len(g.Bundles) {
			return Answer{Error: p.unschedulable()}, true
		}
		if g.Hopeless != "" {
			return Answer{Error: p.unschedulable()}, true
		}
		if !slices.ContainsFunc(bundleNodes(g, s.Bundle), func(id spec.NodeID) bool { return !id.IsZero() }) {
			return Answer{Reason: fmt.Sprintf("waits for placement group %s, which is %s", s.PlacementGroup, strings.ToLower(g.State))}, true
		}
	case spec.StrategyNodeAffinity:
		if s.Soft {
			return Answer{}, false
		}
		if n := p.c.byID[s.NodeID]; n == nil || n.Draining {
			return Answer{Error: p.unschedulable()}, true
		}
	}
	return Answer{}, false
}

// unschedulable is the error of a row that can never be placed.
func (p *placer) unschedulable() *spec.ErrorInfo {
	kind := "TaskUnschedulableError"
	if p.row.Actor {
		kind = "ActorUnschedulableError"
	}
	why := "its scheduling strategy cannot be met"
	if s := p.row.Strategy; s.Kind == spec.StrategyNodeAffinity {
		n := p.c.byID[s.NodeID]
		switch {
		case n == nil:
			why = fmt.Sprintf("The node %s specified via NodeAffinitySchedulingStrategy doesn't exist any more or is infeasible, and soft=False was specified.", s.NodeID)
		case n.Draining:
			why = fmt.Sprintf("The node %s specified via NodeAffinitySchedulingStrategy is draining, and soft=False was specified.", s.NodeID)
		case n.Total.Fits(p.need):
			why = fmt.Sprintf("The node %s specified via NodeAffinitySchedulingStrategy is busy (%s), and _fail_on_unavailable=True was specified.", s.NodeID, p.busyReason([]*Node{n}))
		default:
			why = fmt.Sprintf("The node %s specified via NodeAffinitySchedulingStrategy is infeasible (%s), and soft=False was specified.", s.NodeID, p.lack(n, p.row.LabelSelector))
		}
	} else if s.Kind == spec.StrategyPlacementGroup {
		why = fmt.Sprintf("bundle index %d is outside of placement group %s", s.Bundle, s.PlacementGroup)
		if g := p.c.Groups[s.PlacementGroup]; g.Hopeless != "" {
			why = fmt.Sprintf("placement group %s cannot be created: %s", s.PlacementGroup, g.Hopeless)
		}
	}
	return &spec.ErrorInfo{Type: kind, Message: why}
}

// busyReason is for rows that some node could run, later.
func (p *placer) busyReason(feasible []*Node) string {
	best, most := feasible[0], -1.0
	for _, n := range feasible {
		share := 0.0
		for k, v := range p.need {
			if v > 0 {
				share += min(1, max(0, n.Available[k].Float())/v.Float())
			}
		}
		if share > most {
			best, most = n, share
		}
	}
	var parts []string
	for _, k := range best.Available.Lacks(p.need) {
		parts = addOnce(parts, fmt.Sprintf("%s of %s %s", amount(k, max(0, best.Available[k])), amount(k, best.Total[k]), plain(k)))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("waits for its turn on node %s", best)
	}
	where := "every node that could run it is busy"
	if len(feasible) == 1 {
		where = "the only node that could run it is busy"
	}
	return fmt.Sprintf("%s; nearest: %s has %s free", where, best, strings.Join(parts, " and "))
}

// addOnce keeps what a group's two names of one resource say from being said twice.
func addOnce(parts []string, part string) []string {
	if slices.Contains(parts, part) {
		return parts
	}
	return append(parts, part)
}

// plain is a resource's name without a placement group's id.
func plain(name string) string {
	if at := strings.Index(name, groupMark); at > 0 {
		return name[:at] + " of its bundle"
	}
	return name
}

// infeasible is infeasibleReason, made anew only if what nodes offer has changed.
func (s *shape) infeasible(p *placer) string {
	if s == nil {
		return p.infeasibleReason()
	}
	if s.whyNone == "" || s.whyStatic != s.c.static {
		s.whyNone, s.whyStatic = p.infeasibleReason(), s.c.static
	}
	return s.whyNone
}

// infeasibleReason is for rows that no node could run even if it were free.
func (p *placer) infeasibleReason() string {
	what := text(p.row.Resources)
	what += labelsText(p.row.LabelSelector)
	if p.row.Python != "" && !slices.ContainsFunc(p.c.slots, func(n *Node) bool { return n != nil && slices.Contains(n.Pythons, p.row.Python) }) {
		what = "Python " + p.row.Python
	}
	best := p.nearest()
	if best == nil {
		return "no node has " + what + "; the cluster has no node that takes work"
	}
	return fmt.Sprintf("no node has %s; nearest: %s (%s)", what, best, p.lack(best, p.row.LabelSelector))
}

// labelsText prints a selector to go behind resources.
func labelsText(selector map[string]string) string {
	if len(selector) == 0 {
		return ""
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		parts = append(parts, k+"="+selector[k])
	}
	return " and the labels " + strings.Join(parts, ", ")
}

// nearest is the node that misses least.
func (p *placer) nearest() *Node {
	var best *Node
	least := 0.0
	for _, n := range p.c.slots {
		if n == nil {
			continue
		}
		gap := 0.0
		for k, v := range p.need {
			if v > 0 && n.Total[k] < v {
				gap += 1 - 0.5*n.Total[k].Float()/v.Float()
			}
		}
		if p.wrong(n, p.row.LabelSelector) != "" {
			gap++
		}
		if best == nil || gap < least {
			best, least = n, gap
		}
	}
	return best
}

// lack says what a node misses for the row.
func (p *placer) lack(n *Node, selector map[string]string) string {
	if why := p.wrong(n, selector); why != "" {
		return why
	}
	var parts []string
	for _, k := range n.Total.Lacks(p.need) {
		switch {
		case strings.HasPrefix(k, "bundle"+groupMark):
		case n.Total[k] <= 0:
			parts = addOnce(parts, "there is no "+plain(k))
		default:
			parts = addOnce(parts, plain(k)+" is "+amount(k, n.Total[k]))
		}
	}
	if len(parts) == 0 {
		return "it is not free"
	}
	return strings.Join(parts, ", ")
}
