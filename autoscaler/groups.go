package autoscaler

import (
	"fmt"
	"slices"
	"strings"

	"ray/internal/spec"
)

// groupNeed is a placement group reduced to what has to be placed.
type groupNeed struct {
	group *spec.PlacementGroup
	parts []spec.Demand // one for each bundle, or the merged bundle of STRICT_PACK
	apart bool          // each part on a node of its own
	// pinned is the node that STRICT_PACK is bound to because some of its
	// bundles are there already.
	pinned spec.NodeID
	key    string
}

// needOf leaves out the bundles that have a place.
func needOf(g *spec.PlacementGroup) groupNeed {
	n := groupNeed{group: g, apart: g.Strategy == spec.StrictSpread}
	for i, bundle := range g.Bundles {
		if i < len(g.Nodes) && !g.Nodes[i].IsZero() {
			if g.Strategy == spec.StrictPack {
				n.pinned = g.Nodes[i]
			}
			continue
		}
		d := spec.Demand{Resources: bundle, Count: 1}
		if i < len(g.Labels) {
			d.LabelSelector = g.Labels[i]
		}
		n.parts = append(n.parts, d)
	}
	if g.Strategy == spec.StrictPack && len(n.parts) > 1 {
		n.parts = []spec.Demand{merge(n.parts)}
	}
	n.key = g.Strategy + n.pinned.String()
	for _, p := range n.parts {
		n.key += "/" + p.Resources.Key() + selectorText(p.LabelSelector)
	}
	return n
}

func merge(parts []spec.Demand) spec.Demand {
	sum := spec.Demand{Resources: spec.Resources{}, LabelSelector: map[string]string{}, Count: 1}
	for _, p := range parts {
		sum.Resources.Add(p.Resources)
		for k, v := range p.LabelSelector {
			sum.LabelSelector[k] = v
		}
	}
	return sum
}

// placeGroups finds room for each group, or nothing at all for it. A group
// that found none proves that an equal one finds none either: room only
// shrinks during the round.
func (pl *planner) placeGroups(p *packer) {
	failed := map[string]Waiting{}
	groups := make([]groupNeed, 0, len(pl.req.Groups))
	for i := range pl.req.Groups {
		groups = append(groups, needOf(&pl.req.Groups[i]))
	}
	// Groups whose bundles must be apart leave gaps that others can fill.
	slices.SortStableFunc(groups, func(a, b groupNeed) int { return compareBool(b.apart, a.apart) })
	for _, need := range groups {
		if len(need.parts) == 0 {
			continue
		}
		wants, bad := pl.groupWants(need)
		if bad != nil {
			pl.infeasible(KindGroup, groupName(need.group), *bad)
			continue
		}
		if w, ok := failed[need.key]; ok {
			w.Group, w.GroupID = groupName(need.group), need.group.ID
			pl.reply.Waiting = append(pl.reply.Waiting, w)
			continue
		}
		if stuck, reason := pl.placeGroup(p, need, wants); stuck != nil {
			w := pl.groupWaits(need, stuck, reason)
			pl.reply.Waiting = append(pl.reply.Waiting, w)
			if len(need.group.Nodes) == 0 {
				failed[need.key] = w
			}
		}
	}
}

// groupWaits describes a group whose part of shape stuck found no place.
func (pl *planner) groupWaits(need groupNeed, stuck *shape, reason string) Waiting {
	w := Waiting{Kind: KindGroup, Demand: stuck.demand, Group: groupName(need.group), GroupID: need.group.ID, Reason: reason}
	w.Demand.Count = 1
	if w.Beyond = pl.beyondLimits(need.group); w.Beyond {
		w.Reason += "; the limits of the cluster file leave no room for the group even if nothing else ran"
	}
	return w
}

// beyondLimits tells whether the group would find no place even if every
// machine that this autoscaler may end were gone: then waiting for one to go
// is of no use. It plans once more, for the group alone: on the nodes that are
// not ours (the head's, those started by hand), the least of each type, and
// what may be launched beside them.
func (pl *planner) beyondLimits(g *spec.PlacementGroup) bool {
	if pl.alone {
		return true // the answer to the question of the outer round
	}
	whole := *g
	whole.Nodes = nil
	req := Request{Now: pl.req.Now, Config: pl.req.Config, Groups: []spec.PlacementGroup{whole}}
	req.Config.NodeTypes = make(map[string]NodeType, len(pl.offers))
	for _, o := range pl.offers {
		req.Config.NodeTypes[o.name] = o.typ // with the memory that its nodes were found to have
	}
	for _, n := range pl.fixed {
		free := *n
		free.Available = n.Total
		req.Nodes = append(req.Nodes, free)
	}
	reply := plan(req, true)
	return len(reply.Waiting)+len(reply.Infeasible) > 0
}

// groupWants are the shapes of the parts; bad is the first that fits nowhere.
func (pl *planner) groupWants(need groupNeed) (wants []want, bad *spec.Demand) {
	for i := range need.parts {
		s, ok := pl.shapeOf(need.parts[i])
		if !ok {
			return nil, &need.parts[i]
		}
		wants = append(wants, want{s, 1})
	}
	if !need.apart {
		wants = pl.ordered(wants)
	}
	return wants, nil
}

// placeGroup places all wants, with new nodes if need be, or nothing; stuck is
// then the shape that found no place beside the others.
func (pl *planner) placeGroup(p *packer, need groupNeed, wants []want) (stuck *shape, reason string) {
	p.begin()
	mark := len(pl.planned)
	if need.apart {
		stuck = pl.placeSpread(p, need, wants)
	} else {
		stuck = pl.placeTogether(p, need, wants)
	}
	if stuck == nil {
		p.commit()
		return nil, ""
	}
	reason = pl.groupReason(need, stuck)
	p.undo()
	pl.rollback(mark)
	return stuck, reason
}

func (pl *planner) placeTogether(p *packer, need groupNeed, wants []want) *shape {
	if !need.pinned.IsZero() {
		return pl.placePinned(p, need.pinned, wants)
	}
	rest := slices.Clone(wants)
	p.fill(rest)
	pl.launch(p, rest, reasonGroup, true)
	for _, w := range rest {
		if w.count > 0 {
			return w.shape
		}
	}
	return nil
}

func (pl *planner) placePinned(p *packer, node spec.NodeID, wants []want) *shape {
	for _, b := range pl.existing {
		if b.node == node && b.room(wants[0].shape) > 0 {
			p.put(b, wants[0].shape, 1)
			return nil
		}
	}
	return wants[0].shape
}

func (pl *planner) placeSpread(p *packer, need groupNeed, wants []want) *shape {
	avoid := map[*bin]bool{}
	for _, b := range pl.existing {
		if !b.node.IsZero() && slices.Contains(need.group.Nodes, b.node) {
			avoid[b] = true
		}
	}
	for _, w := range wants {
		if b := p.placeApart(w.shape, avoid); b != nil {
			avoid[b] = true
			continue
		}
		one := []want{{w.shape, 1}}
		pl.launch(p, one, reasonGroup, true)
		if one[0].count > 0 {
			return w.shape
		}
		avoid[pl.planned[len(pl.planned)-1]] = true
	}
	return nil
}

func (pl *planner) groupReason(need groupNeed, stuck *shape) string {
	if !need.pinned.IsZero() {
		return fmt.Sprintf("the rest of this STRICT_PACK group must go to node %s, which has no room", need.pinned)
	}
	reason := pl.holdReason(stuck)
	if need.apart {
		return fmt.Sprintf("%d bundles need a node each, and %s", len(need.parts), reason)
	}
	return reason
}

// groupName is the group's name, or the start of its id.
func groupName(g *spec.PlacementGroup) string {
	if name := strings.TrimSpace(g.Name); name != "" {
		return name
	}
	return g.ID.String()
}
