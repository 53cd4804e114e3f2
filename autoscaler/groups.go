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
	failed := map[string]string{}
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
		if reason, ok := failed[need.key]; ok {
			pl.wait(KindGroup, groupName(need.group), wants[0].shape, 1, reason)
			continue
		}
		if stuck := pl.placeGroup(p, need, wants); stuck != nil {
			reason := pl.groupReason(need, stuck)
			pl.wait(KindGroup, groupName(need.group), stuck, 1, reason)
			if len(need.group.Nodes) == 0 {
				failed[need.key] = reason
			}
		}
	}
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
// then the shape that found no place.
func (pl *planner) placeGroup(p *packer, need groupNeed, wants []want) (stuck *shape) {
	p.begin()
	mark := len(pl.planned)
	if need.apart {
		stuck = pl.placeSpread(p, need, wants)
	} else {
		stuck = pl.placeTogether(p, need, wants)
	}
	if stuck == nil {
		p.commit()
		return nil
	}
	p.undo()
	pl.rollback(mark)
	return stuck
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
