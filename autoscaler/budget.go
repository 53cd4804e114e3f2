package autoscaler

import (
	"fmt"
	"math"
)

// cent is less than any real difference in price; sums of prices are compared
// with this much tolerance, since they are not exact.
const cent = 1e-6

// count notes that n more machines of a type exist, or fewer if n is negative.
func (pl *planner) count(nodeType string, n int) {
	pl.workers += n
	pl.cost += float64(n) * pl.req.Config.NodeTypes[nodeType].Price
}

// affordable is how many more machines of the type the budget allows.
func (pl *planner) affordable(o *offer) int {
	limit := pl.req.Config.MaxCost
	switch {
	case limit == nil:
		return math.MaxInt32
	case o.typ.Unpriced:
		return 0
	case o.typ.Price <= 0:
		return math.MaxInt32
	}
	n := math.Floor((*limit - pl.cost + cent) / o.typ.Price)
	return int(min(max(n, 0), math.MaxInt32))
}

// overBudget tells whether the machines that will be left cost too much, and
// that ending one of the type would help.
func (pl *planner) overBudget(o *offer) bool {
	limit := pl.req.Config.MaxCost
	return limit != nil && o.typ.Price > 0 && pl.cost-pl.saved > *limit+cent
}

// budgetReason says why the budget holds a type back.
func (pl *planner) budgetReason(o *offer) string {
	limit := *pl.req.Config.MaxCost
	if o.typ.Unpriced {
		return fmt.Sprintf("the price of type %s is not known, so max_cost_per_hour %.2f cannot be kept with it; set its price_per_hour", o.name, limit)
	}
	return fmt.Sprintf("a node of type %s costs %.4f per hour, the machines that are there or on their way cost %.4f, max_cost_per_hour is %.2f",
		o.name, o.typ.Price, pl.cost, limit)
}

// limitReason names the cluster's limit that holds launches back. A group that
// was given up has taken its nodes back: then either limit may be the one.
func (pl *planner) limitReason() string {
	if limit := pl.req.Config.MaxCost; limit != nil && pl.workers < pl.req.Config.MaxWorkers {
		return fmt.Sprintf("max_workers %d or max_cost_per_hour %.2f of the cluster does not allow all of them", pl.req.Config.MaxWorkers, *limit)
	}
	return fmt.Sprintf("max_workers %d of the cluster is reached", pl.req.Config.MaxWorkers)
}
