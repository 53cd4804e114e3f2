package scheduler

import (
	"math/rand/v2"

	"ray/internal/spec"
)

// PlaceBehind finds a node for one of a row behind the tasks that run there:
// what they hold counts as free, and what actors have been promised or wait for
// does not. Tasks that follow each other without a gap must not keep an actor out.
func (c *Cluster) PlaceBehind(row Row, random *rand.Rand) (spec.NodeID, bool) {
	p := &placer{c: c, row: row, need: NeedOf(row.Resources, row.Strategy), random: random}
	p.row.Count = 1
	if _, done := p.special(); done {
		return spec.NodeID{}, false
	}
	var nodes []*Node
	for _, n := range p.named() {
		if p.wrong(n, row.LabelSelector) == "" {
			nodes = append(nodes, n)
		}
	}
	var s *shape
	if !p.few() {
		if s = c.shapeOf(p, row.LabelSelector); s.noTurn == c.round && c.round > 0 {
			return spec.NodeID{}, false
		}
		nodes = append(nodes, s.feasible(len(s.nodes))...)
	}
	var best *Node
	var top rank
	for _, n := range nodes {
		if !n.behind(p.need) {
			continue
		}
		if r := p.rank(n); best == nil || r.compare(top) < 0 {
			best, top = n, r
		}
	}
	if best == nil {
		if s != nil {
			s.noTurn = c.round
		}
		return spec.NodeID{}, false
	}
	c.take(best, p.need, 1, 0)
	return best.ID, true
}

// behind tells whether need fits once the running tasks have ended.
func (n *Node) behind(need spec.Resources) bool {
	for k, v := range need {
		if v > 0 && n.Available[k]+n.Turnover[k] < v {
			return false
		}
	}
	return true
}
