package autoscaler

import (
	"fmt"
	"strings"

	"ray/internal/spec"
)

// feasible tells whether the shape fits a type that may be launched, or a
// node that exists, when it is empty.
func (pl *planner) feasible(need vec, selector map[string]string) bool {
	for _, o := range pl.offers {
		if o.typ.Max > 0 && o.total.fits(need) > 0 && matchLabels(o.labels, selector) {
			return true
		}
	}
	for _, b := range pl.existing {
		if b.total.fits(need) > 0 && matchLabels(b.labels, selector) {
			return true
		}
	}
	return false
}

// nearest is the type that lacks least for the shape, with a sentence that
// says what it lacks.
func (pl *planner) nearest(demand spec.Demand, need vec, selector map[string]string) (name, reason string) {
	best := 0.0
	for _, o := range pl.offers {
		gap := pl.gap(o, need, selector)
		if o.typ.Max <= 0 {
			gap += 0.5
		}
		if name == "" || gap < best {
			name, best = o.name, gap
		}
	}
	if name == "" {
		return "", "the cluster has no node type to launch, and no node that is large enough"
	}
	o := pl.byName[name]
	var lacks []string
	for _, resource := range o.typ.Resources.Lacks(demand.Resources) {
		if o.typ.Resources[resource] == 0 {
			lacks = append(lacks, "no "+resource)
			continue
		}
		lacks = append(lacks, fmt.Sprintf("only %s of the %s %s", amountText(resource, o.typ.Resources[resource]),
			amountText(resource, demand.Resources[resource]), resource))
	}
	switch {
	case len(lacks) > 0:
		return name, fmt.Sprintf("the nearest node type, %s, has %s", name, strings.Join(lacks, ", "))
	case !matchLabels(o.labels, selector):
		return name, fmt.Sprintf("the nearest node type, %s, does not have the labels %s", name, selectorText(selector))
	default:
		return name, fmt.Sprintf("node type %s could hold it, but its max_workers is %d", name, o.typ.Max)
	}
}

// gap grows with what the type lacks: one for each missing kind of resource
// and each label condition, less than one for too small an amount.
func (pl *planner) gap(o *offer, need vec, selector map[string]string) float64 {
	gap := 0.0
	for i, n := range need {
		if n > o.total[i] {
			gap += 1 - 0.9*float64(o.total[i])/float64(n)
		}
	}
	for key, condition := range selector {
		if !matchCondition(o.labels, key, condition) {
			gap++
		}
	}
	return gap
}

// amountText prints an amount of a resource, bytes in binary units.
func amountText(resource string, amount spec.Fixed) string {
	if resource != spec.Memory && resource != spec.ObjectStoreMemory {
		return amount.String()
	}
	size, unit := amount.Float(), 0
	for size >= 1024 && unit < 4 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.4g %s", size, []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
}
