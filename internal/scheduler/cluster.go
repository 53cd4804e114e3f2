package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ray/internal/spec"
)

// Estimates for what has not been measured yet.
const (
	// DefaultMean is the run time that a class with no history counts.
	DefaultMean = 10 * time.Millisecond
	// DefaultBandwidth is in bytes per second.
	DefaultBandwidth = 100e6
	// lookahead is how much estimated work a busy node may be given in
	// advance, if the class's run time is known: enough to keep it busy until
	// its next heartbeat, too little to hide demand from the autoscaler.
	lookahead = 100 * time.Millisecond
	// localityGrain is the difference of waiting times that decides; smaller
	// ones leave the choice to packing.
	localityGrain = 5 * time.Millisecond
	// packUntil is the utilisation up to which nodes are filled one by one.
	packUntil = 0.5
)

// Node is a living node as the scheduler sees it.
type Node struct {
	ID               spec.NodeID
	Name             string
	Draining         bool
	Total, Available spec.Resources
	Labels           map[string]string
	Pythons          []string
	// Backlog is how long the node needs for what is queued there.
	Backlog time.Duration

	given int // tasks placed here from this snapshot
}

// Group is a placement group as far as its bundles are placed.
type Group struct {
	State   string
	Nodes   []spec.NodeID // zero where unplaced
	Bundles []spec.Resources
}

// Input is a large argument and the nodes that have it.
type Input struct {
	Size  int64
	Nodes []spec.NodeID
}

// Row is a count of equal things that want a node.
type Row struct {
	Resources     spec.Resources
	LabelSelector map[string]string
	Fallback      []map[string]string
	Strategy      spec.Strategy
	Count         int
	Actor         bool   // errors name actors
	Python        string // major.minor, "" = any
	Inputs        []Input
	// From is the node that asks; it serves DEFAULT rows itself, so it is no
	// choice for them unless Infeasible there. Zero for actors.
	From       spec.NodeID
	LocalWait  time.Duration // how long From would take itself
	Infeasible bool          // From can never run it
	Mean       time.Duration // measured run time, 0 = none
}

// Grant places Count of a row on Node.
type Grant struct {
	Node  spec.NodeID
	Count int
}

// Answer is the outcome for a row. If not all of it found a place, Reason says
// why; Infeasible: no node of now could ever run it; Error ends its tasks.
type Answer struct {
	Grants     []Grant
	Reason     string
	Infeasible bool
	Error      *spec.ErrorInfo
}

// Cluster is a snapshot that Place and PlaceBundles work on and take from.
type Cluster struct {
	Nodes     []Node
	Groups    map[spec.PlacementGroupID]Group
	Bandwidth float64 // bytes per second between nodes; 0 = DefaultBandwidth
	// Dead names nodes that are gone, for messages.
	Dead map[spec.NodeID]bool
}

func (c *Cluster) node(id spec.NodeID) *Node {
	for i := range c.Nodes {
		if c.Nodes[i].ID == id {
			return &c.Nodes[i]
		}
	}
	return nil
}

// take books n times need on a node.
func (n *Node) take(need spec.Resources, times int, mean time.Duration) {
	over := !n.Available.Fits(need)
	avail := n.Available.Clone()
	if avail == nil {
		avail = spec.Resources{}
	}
	for k, v := range need {
		avail[k] -= v * spec.Fixed(times)
	}
	n.Available = avail
	n.given += times
	if over {
		n.Backlog += mean * time.Duration(times) / time.Duration(max(1, fitCount(n.Total, need)))
	}
}

// many stands for a count without end.
const many = 1 << 20

// fitCount is how many times need fits.
func fitCount(have, need spec.Resources) int {
	count := many
	for k, v := range need {
		if v > 0 {
			count = min(count, max(0, int(have[k]/v)))
		}
	}
	return count
}

// utilisation is the largest used share among CPU, memory and what is needed.
func (n *Node) utilisation(need spec.Resources) float64 {
	most := 0.0
	look := func(name string) {
		if total := n.Total[name]; total > 0 {
			most = max(most, 1-n.Available[name].Float()/total.Float())
		}
	}
	look(spec.CPU)
	look(spec.Memory)
	for name := range need {
		look(name)
	}
	return most
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

// needOf is what a row takes from a node: inside a placement group, the
// group's own resources of the bundle, or of any of its bundles. Rows that
// name those already are taken as they are.
func needOf(r spec.Resources, s spec.Strategy) spec.Resources {
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
