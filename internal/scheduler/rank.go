package scheduler

import (
	"cmp"
	"slices"
	"time"

	"ray/internal/spec"
)

// canTake tells whether a node may get one more of the row now.
func (p *placer) canTake(n *Node) bool {
	own := n.ID == p.row.From
	if own && (p.row.Infeasible || p.row.Strategy.Kind == spec.StrategyDefault) {
		return false
	}
	free := n.Available.Fits(p.need)
	wait := p.wait(n)
	if p.row.Spares {
		return free && p.spares(n) == 0 && wait <= gpuGrains*localityGrain
	}
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
	for _, in := range p.row.Inputs {
		if !slices.Contains(in.Nodes, n.ID) {
			wait += time.Duration(float64(in.Size) / p.bandwidth(n, in.Nodes) * float64(time.Second))
		}
	}
	return wait
}

// bandwidth is the best known one to n from any of the nodes; what was not
// measured between two counts as n's mean, else the cluster's.
func (p *placer) bandwidth(n *Node, from []spec.NodeID) float64 {
	best := 0.0
	for _, id := range from {
		best = max(best, n.Bandwidth[id])
	}
	return cmp.Or(best, n.inflow, p.c.inflow, DefaultBandwidth)
}

// rank orders nodes, smaller is better; the fields count in order.
type rank struct {
	soft  int     // soft wishes that are not met
	wait  int64   // estimated waiting time in grains, and gpuGrains
	busy  int     // 1 = it would queue there
	given int     // SPREAD: tasks of this round there already
	score float64 // utilisation above packUntil
	pack  float64 // below it: fuller first
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.soft, o.soft), cmp.Compare(r.wait, o.wait),
		cmp.Compare(r.busy, o.busy), cmp.Compare(r.given, o.given), cmp.Compare(r.score, o.score), cmp.Compare(r.pack, o.pack))
}

// spares is how much longer something waits rather than take a GPU node that it
// has no use for.
func (p *placer) spares(n *Node) int64 {
	if n.Total[spec.GPU] > 0 && p.need[spec.GPU] == 0 {
		return gpuGrains
	}
	return 0
}

func (p *placer) rank(n *Node) rank {
	s := p.row.Strategy
	r := rank{wait: int64(p.wait(n) / localityGrain)}
	r.wait += p.spares(n)
	if !n.Available.Fits(p.need) {
		r.busy = 1
	}
	used, skew := n.utilisation(p.need)
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
		r.wait, r.given = 0, n.given
		r.score = used
		return r
	}
	if used < packUntil {
		r.pack = skewWeight*skew - used
	} else {
		r.score = used + skewWeight*skew
	}
	return r
}
