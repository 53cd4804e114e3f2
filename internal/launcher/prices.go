package launcher

import (
	"context"
	"fmt"
	"slices"

	"ray/providers"
	"ray/providers/prices"
)

// RefreshPrices asks the provider what the machines of the cluster file cost
// now, and keeps the answer beside the clusters' state, for every later plan.
// It gives the machines that the provider has no price for.
func (c *Cluster) RefreshPrices(ctx context.Context) (unknown []string, err error) {
	pricer, ok := c.plain().(providers.Pricer)
	if !ok {
		return nil, fmt.Errorf("the %s provider has no prices to ask for", c.Config.Provider.Type)
	}
	var wanted []string
	for _, e := range c.Prices(prices.Builtin()) {
		if e.Machine != "" {
			wanted = append(wanted, e.Machine)
		}
		wanted = append(wanted, e.Accelerators...)
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	found, err := pricer.Prices(ctx, wanted)
	if err != nil {
		return nil, err
	}
	for _, m := range wanted {
		if _, ok := found[m]; !ok {
			unknown = append(unknown, m)
		}
	}
	region := c.Config.Provider.Text("region")
	return unknown, prices.Save(c.l.PricesPath(), c.Config.Provider.Type, map[string]map[string]prices.Price{region: found})
}

// Prices gives the price of each node type by a table; nil is what is kept
// here over the table in the program.
func (c *Cluster) Prices(table *prices.Table) map[string]prices.Estimate {
	if table == nil {
		var err error
		if table, err = c.l.priceTable(); err != nil {
			table = prices.Builtin()
		}
	}
	return costOf(c.Config, table, nil).Types
}
