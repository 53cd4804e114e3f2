package launcher

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"ray/internal/cluster"
	"ray/providers"
)

// Summary is one line of `ray clusters`.
type Summary struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
	Current  bool   `json:"current"`
	Head     string `json:"head"` // up, down, stopped or unknown
	Workers  int    `json:"workers"`
	Address  string `json:"address,omitempty"`
	// Cost of what exists, in US dollars an hour; types without a price are
	// left out.
	Cost float64 `json:"cost_per_hour"`
	// PriceDate is that of the prices, "" where nothing costs anything.
	PriceDate string `json:"price_date,omitempty"`

	File    string `json:"file"`
	Dir     string `json:"dir"`
	Problem string `json:"problem,omitempty"`
}

// Clusters lists what is remembered, with what each provider says of it.
func (l *Launcher) Clusters(ctx context.Context) ([]Summary, error) {
	dirs, err := l.store().list()
	if err != nil {
		return nil, err
	}
	current, _ := l.store().current()
	var out []Summary
	for _, d := range dirs {
		r, err := d.record()
		if err != nil {
			continue
		}
		s := Summary{Name: r.Name, Provider: r.Provider, Current: d == current, Head: "unknown", Address: r.Address, File: r.File, Dir: string(d)}
		if err := l.ask(ctx, d, &s); err != nil {
			s.Problem = err.Error()
		}
		out = append(out, s)
	}
	return out, nil
}

func (l *Launcher) ask(ctx context.Context, d dir, s *Summary) error {
	cfg, err := cluster.Load(d.path("cluster.yaml"))
	if err != nil {
		return err
	}
	c, err := l.open(d, cfg, true, true)
	if err != nil {
		return err
	}
	head, workers, err := c.machines(ctx)
	if err != nil {
		return err
	}
	table, err := l.priceTable()
	if err != nil {
		return err
	}
	exist := workers
	if head != nil {
		exist = append([]providers.Instance{*head}, workers...)
	}
	cost := costOf(c.Config, table, exist)
	if s.Cost = cost.Now; s.Cost > 0 {
		s.PriceDate = cost.dates()
	}
	s.Head, s.Workers = "down", len(workers)
	switch {
	case head == nil:
		s.Address = ""
	case head.State == providers.Stopped:
		s.Head, s.Address = "stopped", ""
	default:
		s.Head = "up"
	}
	return nil
}

// Use makes a cluster the current one.
func (l *Launcher) Use(name string) error {
	d, err := l.store().named(name)
	if err != nil {
		return err
	}
	return l.store().use(d)
}

// OnlyOne fails where a destroying verb was given -y but no name, and it is
// not plain which cluster is meant.
func (l *Launcher) OnlyOne(c *Cluster) error {
	dirs, err := l.store().list()
	if err != nil || c.Named || len(dirs) <= 1 {
		return err
	}
	var names []string
	for _, d := range dirs {
		names = append(names, filepath.Base(string(d)))
	}
	return errors.New("several clusters exist, and -y without a name would guess; name one with --cluster: " + strings.Join(names, ", "))
}
