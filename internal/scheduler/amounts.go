package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"ray/internal/spec"
)

// many stands for a count without end.
const many = 1 << 20

// fitCount is how many times need fits.
func fitCount(have, need spec.Resources) int { return min(many, have.Times(need)) }

// utilisation is the largest used share among CPU, memory and what is needed;
// skew is how much more that is than the least used one's after need is taken.
func (n *Node) utilisation(need spec.Resources) (most, skew float64) {
	high, low := 0.0, 1.0
	look := func(name string, more spec.Fixed) {
		total := n.Total[name].Float()
		if total <= 0 {
			return
		}
		free := n.Available[name].Float()
		most = max(most, 1-free/total)
		after := 1 - (free-more.Float())/total
		high, low = max(high, after), min(low, after)
	}
	for name, v := range need {
		look(name, v)
	}
	if _, ok := need[spec.CPU]; !ok {
		look(spec.CPU, 0)
	}
	if _, ok := need[spec.Memory]; !ok {
		look(spec.Memory, 0)
	}
	return most, max(0, high-low)
}

func (n *Node) String() string {
	if n.Name != "" {
		return n.Name
	}
	return n.ID.String()[:8]
}

// text prints needs for people: GPU: 1, memory: 2 GiB.
func text(r spec.Resources) string {
	var parts []string
	for _, k := range r.Names() {
		part := plain(k) + ": " + amount(k, r[k])
		if r[k] > 0 && !strings.HasPrefix(k, "bundle"+groupMark) && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "no resources"
	}
	return strings.Join(parts, ", ")
}

// amount prints bytes in binary units, all else as it is.
func amount(name string, v spec.Fixed) string {
	if name != spec.Memory && name != spec.ObjectStoreMemory {
		return v.String()
	}
	size, unit := v.Float(), 0
	for size >= 1024 && unit < 4 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.4g %s", size, []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
}

// groupMark is in the names of a placement group's resources.
const groupMark = "_group_"

// NeedOf is what a row takes from a node: inside a placement group, the
// group's own resources of the bundle, or of any of its bundles. Rows that
// name those already are taken as they are.
func NeedOf(r spec.Resources, s spec.Strategy) spec.Resources {
	if s.Kind != spec.StrategyPlacementGroup {
		return r
	}
	need := spec.Resources{}
	for k, v := range r {
		if strings.Contains(k, groupMark) {
			return r
		}
		if v <= 0 {
			continue
		}
		need[k+groupMark+s.PlacementGroup.String()] = v
		if s.Bundle >= 0 {
			need[fmt.Sprintf("%s_group_%d_%s", k, s.Bundle, s.PlacementGroup)] = v
		}
	}
	return need
}

// bundleNodes are the nodes that a strategy's group allows.
func bundleNodes(g Group, bundle int) []spec.NodeID {
	if bundle < 0 {
		return g.Nodes
	}
	if bundle < len(g.Nodes) {
		return g.Nodes[bundle : bundle+1]
	}
	return nil
}

func inGroup(g Group, bundle int, id spec.NodeID) bool {
	return slices.Contains(bundleNodes(g, bundle), id)
}
