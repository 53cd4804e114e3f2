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
// the cluster until the next Begin: see Promise.
func (c *Cluster) Place(row Row, random *rand.Rand) Answer {
	p := &placer{c: c, row: row, need: NeedOf(row.Resources, row.Strategy), random: random}
	if answer, done := p.special(); done {
		return answer
	}
	if p.few() {
		return p.answer(p.placeOn(p.named()))
	}
	p.placeOn(p.named()) // of a soft wish
	var feasible []*Node
	for i, selector := range p.selectors() {
		if p.row.Count == 0 {
			break
		}
		s := c.shapeOf(p, selector)
		p.fill(s)
		if i == 0 {
			p.first = s
		}
		if i == 0 && p.row.Count > 0 && !p.row.Spares {
			feasible = s.feasible(reasonLooks)
		}
	}
	return p.answer(feasible)
}

// reasonLooks is how many nodes are looked at for the reason why a row waits.
const reasonLooks = 256

// few tells whether only nodes that the strategy names are a choice.
func (p *placer) few() bool {
	return p.row.Strategy.Kind == spec.StrategyPlacementGroup || p.hardAffinity()
}

// named are the nodes that the strategy names.
func (p *placer) named() (out []*Node) {
	s := p.row.Strategy
	ids := []spec.NodeID{s.NodeID}
	switch s.Kind {
	case spec.StrategyPlacementGroup:
		ids = bundleNodes(p.c.Groups[s.PlacementGroup], s.Bundle)
	case spec.StrategyNodeAffinity:
	default:
		return nil
	}
	for _, id := range ids {
		if n := p.c.byID[id]; n != nil && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// placeOn gives out places on the best of a few nodes until all are placed or
// none has room. It returns those that could run the row if they were free.
func (p *placer) placeOn(nodes []*Node) (feasible []*Node) {
	for i, selector := range p.selectors() {
		var fits []*Node
		for _, n := range nodes {
			if p.wrong(n, selector) == "" && (n.Total.Fits(p.need) || p.bundleFits(n)) {
				fits = append(fits, n)
			}
		}
		if i == 0 {
			feasible = fits
		}
		for p.row.Count > 0 {
			n := p.better(nil, fits)
			if n == nil {
				break
			}
			p.give(n, len(fits))
		}
	}
	return feasible
}

// answer is what is said in the end.
func (p *placer) answer(feasible []*Node) Answer {
	answer := Answer{Grants: p.grants}
	switch {
	case p.row.Count == 0 || p.row.Spares:
	case len(feasible) > 0 && p.hardAffinity() && p.row.Strategy.FailOnUnavailable:
		answer.Error = p.unschedulable()
	case len(feasible) > 0:
		answer.Reason = p.busyReason(feasible)
	case p.hardAffinity():
		answer.Error = p.unschedulable()
	default:
		answer.Reason, answer.Infeasible = p.first.infeasible(p), !p.groupChanges()
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
	return g.State != spec.PGCreated || slices.ContainsFunc(bundleNodes(g, s.Bundle), func(id spec.NodeID) bool { return p.c.byID[id] == nil })
}

type placer struct {
	c      *Cluster
	row    Row
	need   spec.Resources
	random *rand.Rand
	first  *shape // of the row's own selector; nil if its strategy names nodes
	grants []Grant
	// granted has the index in grants of each node, by slot.
	granted map[int]int
}

// selectors are the label selectors to try in order.
func (p *placer) selectors() []map[string]string {
	return append([]map[string]string{p.row.LabelSelector}, p.row.Fallback...)
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

// inputLooks is how many of the best nodes are compared for a row with large
// inputs, besides those that have them.
const inputLooks = 8

// fill gives out places by an index until all are placed or no node has room.
func (p *placer) fill(s *shape) {
	looks := 1
	var holders []*Node
	if len(p.row.Inputs) > 0 {
		looks, holders = inputLooks, p.holders(s)
	}
	for p.row.Count > 0 {
		n := p.best(s, looks, holders)
		if n == nil {
			return
		}
		p.give(n, s.fits)
		s.refresh(n.slot)
		s.read = s.c.log.end()
	}
}

// best is the node of an index for one more of the row, or nil.
func (p *placer) best(s *shape, looks int, holders []*Node) *Node {
	queues := p.row.Mean > 0 && p.row.Mean <= lookahead
	if looks == 1 {
		idle, sure := s.first(&s.free, p)
		var queue *Node
		if sure && queues {
			queue, sure = s.first(&s.busy, p)
		}
		switch {
		case sure && (idle == nil || queue == nil):
			return cmp.Or(idle, queue)
		case sure:
			return p.better(idle, []*Node{queue})
		}
	}
	// Candidates are out of the index while one of them is chosen.
	var queue, apart2 []entry
	idle, apart := s.top(&s.free, looks, p)
	if queues {
		queue, apart2 = s.top(&s.busy, looks, p)
	}
	n := p.better(nil, holders)
	for _, e := range slices.Concat(idle, queue) {
		n = p.better(n, []*Node{s.c.slots[e.slot]})
	}
	s.putBack(&s.free, idle, apart)
	s.putBack(&s.busy, queue, apart2)
	return n
}

func (s *shape) putBack(list *ranking, groups ...[]entry) {
	for _, g := range groups {
		for _, e := range g {
			list.put(e)
		}
	}
}

// holders are the nodes that have inputs of the row and could run it.
func (p *placer) holders(s *shape) (out []*Node) {
	for _, in := range p.row.Inputs {
		for _, id := range in.Nodes {
			if n := p.c.byID[id]; n != nil && s.nodes[n.slot].fits && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// better is the best of a node and others that can take one more of the row; of
// equals one of those given least in this round, by chance.
func (p *placer) better(best *Node, others []*Node) *Node {
	var top rank
	ties := 1
	if best != nil {
		top = p.rank(best)
	}
	for _, n := range others {
		if !p.canTake(n) {
			continue
		}
		r := p.rank(n)
		order := -1
		if best != nil {
			order = r.compare(top)
			if order == 0 {
				order = n.given - best.given
			}
		}
		switch {
		case order < 0:
			best, top, ties = n, r, 1
		case order == 0:
			if ties++; p.random.IntN(ties) == 0 {
				best, top = n, r
			}
		}
	}
	return best
}

// give places one more of the row, or of a large count a piece, on n.
func (p *placer) give(n *Node, choices int) {
	times := 1
	if p.row.Count > 256 {
		times = max(1, min(p.row.Count/(4*choices), fitCount(n.Available, p.need)))
	}
	p.c.take(n, p.need, times, p.mean())
	p.row.Count -= times
	if i, ok := p.granted[n.slot]; ok {
		p.grants[i].Count += times
		return
	}
	if p.granted == nil {
		p.granted = map[int]int{}
	}
	p.granted[n.slot] = len(p.grants)
	p.grants = append(p.grants, Grant{n.ID, times})
}

func (p *placer) mean() time.Duration {
	if p.row.Mean > 0 {
		return p.row.Mean
	}
	return DefaultMean
}
