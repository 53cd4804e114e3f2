package scheduler

import (
	"cmp"
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
	// gpuGrains is how much longer, in grains, something that needs no GPU
	// rather waits for another node than takes a node's that has some.
	gpuGrains = 4
	// packUntil is the utilisation up to which nodes are filled one by one.
	packUntil = 0.5
	// skewWeight is what the difference between a node's most and least used
	// resource counts against its utilisation: work goes where it leaves
	// resources free that can be used together.
	skewWeight = 0.25
)

// Node is a living node as the scheduler sees it.
type Node struct {
	ID       spec.NodeID
	Name     string
	Draining bool
	Total    spec.Resources
	// Available is what is free; the cluster takes from it what it places.
	Available spec.Resources
	Labels    map[string]string
	Pythons   []string
	// Backlog is how long the node needs for what is queued there.
	Backlog time.Duration
	// Turnover is what running tasks (not actors) hold: it will be free again.
	Turnover spec.Resources
	// Bandwidth has measured bytes per second from other nodes to this one.
	Bandwidth map[spec.NodeID]float64

	slot     int
	given    int            // tasks placed here in this round
	told     spec.Resources // Available by the node's own word
	backlog  time.Duration  // likewise
	promised []Promise
	touched  bool // placed on in this round
	static   uint32
	inflow   float64 // mean of Bandwidth
}

// Group is a placement group as far as its bundles are placed.
type Group struct {
	State   string
	Nodes   []spec.NodeID // zero where unplaced
	Bundles []spec.Resources
	// Hopeless says why it will not be made, if so: what waits in it fails.
	Hopeless string
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
	// Spares: From can begin it at once, but has GPUs, for which it has no use.
	// Nodes without any that have room now are the choice; the rest stays.
	Spares bool
	Mean   time.Duration // measured run time, 0 = none
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

// Cluster is the picture of all nodes that Place and PlaceBundles work on. It
// is kept up to date by what changes, not made anew: its cost is that of the
// changes and of the choices, whatever the number of nodes.
type Cluster struct {
	Groups map[spec.PlacementGroupID]Group

	slots   []*Node // by Node.slot; nil = unused
	byID    map[spec.NodeID]*Node
	unused  []int
	static  uint32  // counts changes of what nodes offer at best
	touched []*Node // placed on since Begin
	expiry  []expiring
	log     changeLog
	shapes  map[string]*shape
	uses    int
	round   int
	inflow  float64 // mean of what was measured anywhere; 0 = nothing yet
	failed  map[string]failedGroup
	changed int // counts changes of what is free
	window  int // slot at which the last sample ended
}

// New makes an empty cluster.
func New() *Cluster {
	return &Cluster{
		Groups: map[spec.PlacementGroupID]Group{}, byID: map[spec.NodeID]*Node{},
		shapes: map[string]*shape{}, failed: map[string]failedGroup{},
	}
}

// Put adds a node, or replaces all that is known of it but what was promised.
func (c *Cluster) Put(n Node) {
	old := c.byID[n.ID]
	node := &n
	if old != nil {
		node.slot, node.promised, node.touched, node.given = old.slot, old.promised, old.touched, old.given
		for i, t := range c.touched {
			if t == old {
				c.touched[i] = node
			}
		}
	} else if k := len(c.unused); k > 0 {
		node.slot = c.unused[k-1]
		c.unused = c.unused[:k-1]
	} else {
		node.slot = len(c.slots)
		c.slots = append(c.slots, nil)
	}
	c.slots[node.slot], c.byID[n.ID] = node, node
	c.static++
	node.static = c.static
	node.told, node.backlog = n.Available, n.Backlog
	c.measure(node)
	c.settle(node)
}

// Remove forgets a node.
func (c *Cluster) Remove(id spec.NodeID) {
	n := c.byID[id]
	if n == nil {
		return
	}
	delete(c.byID, id)
	c.slots[n.slot] = nil
	c.unused = append(c.unused, n.slot)
	n.touched, n.promised = false, nil
	c.static++
	c.changed++
	c.log.add(n.slot)
}

// Len is the number of nodes.
func (c *Cluster) Len() int { return len(c.byID) }

// Node gives a node for reading, or nil.
func (c *Cluster) Node(id spec.NodeID) *Node { return c.byID[id] }

// Told is what a node says again and again.
type Told struct {
	Total, Available, Turnover spec.Resources
	Backlog                    time.Duration
	Bandwidth                  map[spec.NodeID]float64
	// Arrived counts tasks promised to the node that have come since its last
	// word: from now on it speaks of them itself.
	Arrived int
}

// Update takes a node's word; the maps become the cluster's. Unknown nodes are ignored.
func (c *Cluster) Update(id spec.NodeID, t Told) {
	n := c.byID[id]
	if n == nil {
		return
	}
	if !equalTotals(n.Total, t.Total) {
		c.static++
		n.static = c.static
	}
	n.Total, n.told, n.Turnover, n.backlog = t.Total, t.Available, t.Turnover, t.Backlog
	n.Bandwidth = t.Bandwidth
	n.arrived(t.Arrived)
	c.measure(n)
	c.settle(n)
}

func equalTotals(a, b spec.Resources) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// measure sums what was measured of a node's inflow.
func (c *Cluster) measure(n *Node) {
	n.inflow = 0
	for _, b := range n.Bandwidth {
		n.inflow += b / float64(len(n.Bandwidth))
	}
	switch {
	case n.inflow <= 0:
	case c.inflow == 0:
		c.inflow = n.inflow
	default:
		c.inflow += (n.inflow - c.inflow) / 16
	}
}

// settle derives what is free from the node's word and what it was promised.
func (c *Cluster) settle(n *Node) {
	free := n.told.Clone()
	if free == nil {
		free = spec.Resources{}
	}
	n.Available, n.Backlog = free, n.backlog
	for _, p := range n.promised {
		n.book(p.Need, p.Times, p.Mean)
	}
	c.changed++
	c.log.add(n.slot)
}

// book takes times need off what is free, or adds them to the queue.
func (n *Node) book(need spec.Resources, times int, mean time.Duration) {
	if !n.Available.Fits(need) {
		n.Backlog += cmp.Or(mean, DefaultMean) * time.Duration(times) / time.Duration(max(1, fitCount(n.Total, need)))
	}
	for k, v := range need {
		n.Available[k] -= v * spec.Fixed(times)
	}
}

// Begin starts a round: what was placed in the last one and neither promised
// nor told of by a node is free again, and SPREAD counts from nothing.
func (c *Cluster) Begin() {
	c.round++
	for _, n := range c.touched {
		if n.touched {
			n.touched, n.given = false, 0
			c.settle(n)
		}
	}
	c.touched = c.touched[:0]
}

// take books n times need on a node.
func (c *Cluster) take(n *Node, need spec.Resources, times int, mean time.Duration) {
	n.book(need, times, mean)
	n.given += times
	if !n.touched {
		n.touched = true
		c.touched = append(c.touched, n)
	}
	c.log.add(n.slot)
}
