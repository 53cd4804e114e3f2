package launcher

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"ray/internal/cluster"
	"ray/providers"
	"ray/providers/prices"
)

// Cost is what machines of a cluster cost by the hour, in US dollars without
// disks, traffic and taxes.
type Cost struct {
	Now float64 `json:"now"` // what runs
	Min float64 `json:"min"` // the head and min_workers
	Max float64 `json:"max"` // the head and the dearest max_workers
	// Stopped machines cost no more than their disks, which no sum has.
	Stopped int `json:"stopped,omitempty"`
	// Types gives one node's price, by node type.
	Types map[string]prices.Estimate `json:"types"`
	// Unknown are node types without a price; the sums leave them out.
	Unknown []string `json:"unknown,omitempty"`
	// Date is the oldest of the prices that are used: that of the table in the
	// program, where spot prices are typical ones, or when a provider was asked.
	Date string `json:"date"`
	// Newest is the date of the newest, if it is another.
	Newest string `json:"newest_date,omitempty"`
}

// priceTable is the launcher's, with what was asked of providers.
func (l *Launcher) priceTable() (*prices.Table, error) {
	return prices.Load(l.PricesPath())
}

// PricesPath is where prices that were asked of providers are kept.
func (l *Launcher) PricesPath() string { return filepath.Join(l.Root, prices.FileName) }

// costOf adds up what the file allows, and what exists.
func costOf(cfg *cluster.Config, table *prices.Table, live []providers.Instance) Cost {
	c := Cost{Types: map[string]prices.Estimate{}}
	var dates []string
	for _, name := range cfg.TypeNames() {
		e := table.NodeType(cfg, name)
		if c.Types[name] = e; !e.Known && (name == cfg.HeadType || cfg.NodeTypes[name].Max > 0) {
			c.Unknown = append(c.Unknown, name)
		}
		dates = append(dates, cmp.Or(e.Date, table.Date))
	}
	slices.Sort(dates)
	if len(dates) > 0 {
		if c.Date = dates[0]; dates[len(dates)-1] != c.Date {
			c.Newest = dates[len(dates)-1]
		}
	}
	usd := func(name string) float64 { return c.Types[name].USD }
	for _, i := range live {
		if i.State == providers.Stopped {
			c.Stopped++
			continue
		}
		c.Now += usd(i.Type)
	}
	c.Min = usd(cfg.HeadType)
	c.Max = c.Min
	left := cfg.MaxWorkers - cfg.MinWorkers()
	names := slices.SortedFunc(maps.Keys(cfg.NodeTypes), func(a, b string) int {
		return cmp.Or(cmp.Compare(usd(b), usd(a)), cmp.Compare(a, b))
	})
	for _, name := range names {
		t := cfg.NodeTypes[name]
		more := max(0, min(left, t.Max-t.Min))
		left -= more
		c.Min += float64(t.Min) * usd(name)
		c.Max += float64(t.Min+more) * usd(name)
	}
	return c
}

// free tells whether nothing of the cluster costs anything.
func (c Cost) free() bool {
	for _, e := range c.Types {
		if !e.Free {
			return false
		}
	}
	return true
}

func (c Cost) dates() string {
	if c.Newest != "" {
		return c.Date + " to " + c.Newest
	}
	return c.Date
}

// String is the cost for people, on one line.
func (c Cost) String() string {
	if c.free() {
		return "Cost: nothing; the machines are there anyway."
	}
	s := fmt.Sprintf("Cost per hour: $%.3f now, $%.3f with min_workers, at most $%.3f (prices of %s, without disks and traffic",
		c.Now, c.Min, c.Max, c.dates())
	if len(c.Unknown) > 0 {
		s += "; not counted, since their price is not known: " + strings.Join(c.Unknown, ", ")
	}
	if c.Stopped > 0 {
		s += fmt.Sprintf("; of %d stopped machine(s) only the disks cost", c.Stopped)
	}
	return s + ")."
}
