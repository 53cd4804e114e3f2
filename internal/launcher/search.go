package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ray/internal/cluster"
	"ray/providers"
)

// Sighting is a cluster whose machines a cloud has, whether or not it was
// started from here.
type Sighting struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
	Region   string `json:"region"`
	Project  string `json:"project,omitempty"` // of Google Cloud
	Head     bool   `json:"head"`
	Workers  int    `json:"workers"`
	// Known: what is needed to use it is kept here.
	Known bool `json:"known"`
	// Orphan: it has no head, so that nobody uses its machines or ends them.
	Orphan bool `json:"orphan"`
	// Cost in US dollars an hour; machines without a price are left out.
	Cost      float64  `json:"cost_per_hour"`
	Instances []string `json:"instances"`
}

// Remove is the command that ends the machines of a cluster, with or without
// anything kept here.
func (s Sighting) Remove() string {
	where := "region: " + s.Region
	if s.Project != "" {
		where += ", project_id: " + s.Project
	}
	return fmt.Sprintf("printf 'cluster_name: %s\\nprovider: {type: %s, %s}\\n' | ray down -y -", s.Name, s.Provider, where)
}

// Search asks the clouds that are known here for everything with a cluster's
// tag, in all regions: those of the clusters that are remembered, and those
// whose credentials the environment has. With an error it gives what was found
// elsewhere.
func (l *Launcher) Search(ctx context.Context) ([]Sighting, error) {
	accounts, known, err := l.accounts()
	if err != nil {
		return nil, err
	}
	table, err := l.priceTable()
	if err != nil {
		return nil, err
	}
	var out []Sighting
	var errs []error
	for _, cfg := range accounts {
		p, err := l.provider(cfg, l.store().at(dirName(cfg)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		finder, ok := p.(providers.Finder)
		if !ok {
			continue
		}
		found, err := finder.Find(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", cfg.Provider.Type, err))
		}
		out = append(out, sightings(cfg, found, func(f providers.Found) float64 {
			if f.State == providers.Stopped { // its disks, as all disks, are not counted
				return 0
			}
			usd, _ := table.Machine(cfg.Provider.Type, f.Region, f.Machine, f.Spot)
			return usd
		})...)
	}
	for n, s := range out {
		out[n].Known = slices.Contains(known, s.Provider+" "+s.Region+" "+s.Name)
	}
	return out, errors.Join(errs...)
}

// sightings sorts machines by cluster and region.
func sightings(cfg *cluster.Config, found []providers.Found, price func(providers.Found) float64) []Sighting {
	by := map[[2]string]*Sighting{}
	for _, f := range found {
		key := [2]string{f.Region, f.Cluster}
		s := by[key]
		if s == nil {
			s = &Sighting{Name: f.Cluster, Provider: cfg.Provider.Type, Region: f.Region, Project: cfg.Provider.Text("project_id"), Orphan: true}
			by[key] = s
		}
		if f.Kind == providers.Head {
			s.Head, s.Orphan = true, false
		} else {
			s.Workers++
		}
		s.Cost += price(f)
		s.Instances = append(s.Instances, f.ID)
	}
	var out []Sighting
	for _, s := range by {
		slices.Sort(s.Instances)
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Sighting) int {
		return strings.Compare(a.Name+"\x00"+a.Region, b.Name+"\x00"+b.Region)
	})
	return out
}

// accounts are cluster files that stand for one account each, and the clusters
// that are remembered.
func (l *Launcher) accounts() (out []*cluster.Config, known []string, err error) {
	dirs, err := l.store().list()
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	add := func(cfg *cluster.Config) {
		key := fmt.Sprint(cfg.Provider.Type, cfg.Provider.Text("project_id"), cfg.Provider.Section("aws_credentials"))
		if !seen[key] {
			seen[key] = true
			out = append(out, cfg)
		}
	}
	for _, d := range dirs {
		cfg, err := cluster.Load(d.path("cluster.yaml"))
		if err != nil {
			continue
		}
		known = append(known, cfg.Provider.Type+" "+cfg.Provider.Text("region")+" "+cfg.Name)
		add(cfg)
	}
	for _, text := range fromEnvironment() {
		if cfg, err := cluster.Parse("the environment", []byte("cluster_name: default\n"+text)); err == nil {
			add(cfg)
		}
	}
	return out, known, nil
}

// fromEnvironment gives provider sections for the clouds whose credentials
// this machine has.
func fromEnvironment() []string {
	var out []string
	home, _ := os.UserHomeDir()
	_, err := os.Stat(filepath.Join(home, ".aws"))
	if err == nil || os.Getenv("AWS_ACCESS_KEY_ID") != "" || os.Getenv("AWS_PROFILE") != "" {
		region := os.Getenv("AWS_REGION")
		if region == "" {
			region = "us-west-2"
		}
		out = append(out, "provider: {type: aws, region: "+region+"}\n")
	}
	if project := os.Getenv("GOOGLE_CLOUD_PROJECT"); project != "" {
		out = append(out, "provider: {type: gcp, region: us-west1, project_id: "+project+"}\n")
	}
	return out
}
