package scheduler

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"ray/internal/spec"
)

// Place finds nodes for as many of a row as can start soon, and takes them off
// the snapshot.
func (c *Cluster) Place(row Row, random *rand.Rand) Answer {
	p := &placer{c: c, row: row, need: needOf(row.Resources, row.Strategy), random: random}
	if answer, done := p.special(); done {
		return answer
	}
	var feasible []*Node
	for _, selector := range p.selectors() {
		nodes := p.feasible(selector)
		if feasible == nil {
			feasible = nodes
		}
		p.fill(nodes)
		if p.row.Count == 0 {
			return Answer{Grants: p.grants}
		}
	}
	answer := Answer{Grants: p.grants}
	switch {
	case len(feasible) > 0:
		answer.Reason = p.busyReason(feasible)
	case p.hardAffinity():
		answer.Error = p.unschedulable()
	default:
		answer.Reason, answer.Infeasible = p.infeasibleReason(), !p.groupChanges()
	}
	return answer
}

// groupChanges tells whether the row's placement group is still being made, or
// a node of it is away: what it offers is not known yet.
func (p *placer) groupChanges() bool {
	s := p.row.Strategy
	if s.Kind != spec.StrategyPlacementGroup {
		return false
	}
	g := p.c.Groups[s.PlacementGroup]
	return g.State != spec.PGCreated || slices.ContainsFunc(bundleNodes(g, s.Bundle), func(id spec.NodeID) bool { return p.c.node(id) == nil })
}

type placer struct {
	c      *Cluster
	row    Row
	need   spec.Resources
	random *rand.Rand
	grants []Grant
}

// selectors are the label selectors to try in order.
func (p *placer) selectors() []map[string]string {
	return append([]map[string]string{p.row.LabelSelector}, p.row.Fallback...)
}

// feasible are the nodes that could run the row if they were free.
func (p *placer) feasible(selector map[string]string) []*Node {
	var out []*Node
	for i := range p.c.Nodes {
		n := &p.c.Nodes[i]
		if p.wrong(n, selector) == "" && (n.Total.Fits(p.need) || p.bundleFits(n)) {
			out = append(out, n)
		}
	}
	return out
}

// bundleFits tells whether the bundles of the row's group on n are large
// enough: the node may not have told of the group's resources yet.
func (p *placer) bundleFits(n *Node) bool {
	s := p.row.Strategy
	if s.Kind != spec.StrategyPlacementGroup {
		return false
	}
	g := p.c.Groups[s.PlacementGroup]
	held := spec.Resources{}
	for i, id := range g.Nodes {
		if id == n.ID && (s.Bundle < 0 || s.Bundle == i) {
			held.Add(g.Bundles[i])
		}
	}
	for name, v := range p.row.Resources {
		if base, _, _ := strings.Cut(name, groupMark); base != "bundle" && held[base] < v {
			return false
		}
	}
	return true
}

// wrong says why a node is no choice whatever its size, or "".
func (p *placer) wrong(n *Node, selector map[string]string) string {
	s := p.row.Strategy
	switch {
	case n.Draining:
		return "it is draining"
	case p.row.Python != "" && !slices.Contains(n.Pythons, p.row.Python):
		return "it has no Python " + p.row.Python
	case p.hardAffinity() && n.ID != s.NodeID:
		return "another node was asked for"
	case s.Kind == spec.StrategyPlacementGroup && !inGroup(p.c.Groups[s.PlacementGroup], s.Bundle, n.ID):
		return "it holds no bundle of the placement group"
	}
	if miss, ok := matchAll(n.Labels, selector); !ok {
		return "it lacks the label " + miss
	}
	if s.Kind == spec.StrategyNodeLabel {
		if miss, ok := matchAll(n.Labels, s.HardLabels); !ok {
			return "it lacks the label " + miss
		}
	}
	return ""
}

func (p *placer) hardAffinity() bool {
	return p.row.Strategy.Kind == spec.StrategyNodeAffinity && !p.row.Strategy.Soft
}

// fill gives out places on the nodes until all are placed or none has room.
func (p *placer) fill(nodes []*Node) {
	for p.row.Count > 0 {
		var open []*Node
		for _, n := range nodes {
			if p.canTake(n) {
				open = append(open, n)
			}
		}
		if len(open) == 0 {
			return
		}
		n := p.choose(open)
		times := 1
		if p.row.Count > 256 { // large counts go out in larger pieces
			times = max(1, min(p.row.Count/(4*len(open)), fitCount(n.Available, p.need)))
		}
		n.take(p.need, times, p.mean())
		p.row.Count -= times
		p.grant(n.ID, times)
	}
}

func (p *placer) grant(id spec.NodeID, times int) {
	for i := range p.grants {
		if p.grants[i].Node == id {
			p.grants[i].Count += times
			return
		}
	}
	p.grants = append(p.grants, Grant{id, times})
}

func (p *placer) mean() time.Duration {
	if p.row.Mean > 0 {
		return p.row.Mean
	}
	return DefaultMean
}

// canTake tells whether a node may get one more of the row now.
func (p *placer) canTake(n *Node) bool {
	own := n.ID == p.row.From
	if own && (p.row.Infeasible || p.row.Strategy.Kind == spec.StrategyDefault) {
		return false
	}
	free := n.Available.Fits(p.need)
	wait := p.wait(n)
	if !free {
		if p.row.Mean == 0 || wait > lookahead {
			return false
		}
	}
	// Going away must be worth it.
	stay := p.row.Strategy.Kind == spec.StrategyDefault && !p.row.From.IsZero() && !p.row.Infeasible
	return !stay || wait < p.row.LocalWait
}

// wait estimates when a task of the row could start on n: the queue there,
// and its inputs' way.
func (p *placer) wait(n *Node) time.Duration {
	var wait time.Duration
	if !n.Available.Fits(p.need) {
		wait = n.Backlog + p.mean()
	}
	bandwidth := p.c.Bandwidth
	if bandwidth <= 0 {
		bandwidth = DefaultBandwidth
	}
	for _, in := range p.row.Inputs {
		if !slices.Contains(in.Nodes, n.ID) {
			wait += time.Duration(float64(in.Size) / bandwidth * float64(time.Second))
		}
	}
	return wait
}

// choose picks the best of the open nodes; among equals, the less loaded of
// two random ones.
func (p *placer) choose(open []*Node) *Node {
	ranks := make([]rank, len(open))
	best := 0
	for i, n := range open {
		ranks[i] = p.rank(n)
		if ranks[i].compare(ranks[best]) < 0 {
			best = i
		}
	}
	var ties []*Node
	for i, n := range open {
		if ranks[i].compare(ranks[best]) == 0 {
			ties = append(ties, n)
		}
	}
	if len(ties) == 1 {
		return ties[0]
	}
	a, b := ties[p.random.IntN(len(ties))], ties[p.random.IntN(len(ties))]
	if b.given < a.given {
		return b
	}
	return a
}

// rank orders nodes, smaller is better; the fields count in order.
type rank struct {
	soft  int     // soft wishes that are not met
	gpu   int     // 1 = a GPU node for something that needs none
	wait  int64   // estimated waiting time in grains
	busy  int     // 1 = it would queue there
	given int     // SPREAD: tasks of this row there already
	score float64 // utilisation above packUntil
	pack  float64 // below it: fuller first
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.soft, o.soft), cmp.Compare(r.gpu, o.gpu), cmp.Compare(r.wait, o.wait),
		cmp.Compare(r.busy, o.busy), cmp.Compare(r.given, o.given), cmp.Compare(r.score, o.score), cmp.Compare(r.pack, o.pack))
}

func (p *placer) rank(n *Node) rank {
	s := p.row.Strategy
	r := rank{wait: int64(p.wait(n) / localityGrain)}
	if n.Total[spec.GPU] > 0 && p.need[spec.GPU] == 0 {
		r.gpu = 1
	}
	if !n.Available.Fits(p.need) {
		r.busy = 1
	}
	switch s.Kind {
	case spec.StrategyNodeAffinity:
		if s.Soft && n.ID != s.NodeID {
			r.soft = 1
		}
	case spec.StrategyNodeLabel:
		if _, ok := matchAll(n.Labels, s.SoftLabels); !ok {
			r.soft = 1
		}
	case spec.StrategySpread:
		r.wait, r.busy, r.given = 0, 0, n.given
		r.score = n.utilisation(p.need)
		return r
	}
	if used := n.utilisation(p.need); used < packUntil {
		r.pack = -used
	} else {
		r.score = used
	}
	return r
}
