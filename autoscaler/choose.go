package autoscaler

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"ray/internal/spec"
)

// offer is a node type as the planner sees it while it chooses.
type offer struct {
	name  string
	typ   NodeType
	total vec
	gpu   bool
	// labels that a node of the type will have.
	labels  map[string]string
	running int // nodes that serve
	flying  int // instances on their way
	planned int // launches of this round
	ending  int // terminations of this round
	// stopping instances give no room, but they exist until they are gone.
	stopping int
	// returning are those among them whose nodes come back.
	returning int
	block     *Block
	ways      []spec.Offering // those that are not scarce, in order
}

func (o *offer) count() int { return o.running + o.flying + o.planned - o.ending }

// machines is how many exist, or will after this round, at one time: those
// that are being stopped count until they are gone, so that no limit (of ours
// or of the account) is ever passed.
func (o *offer) machines() int { return o.running + o.flying + o.planned + o.stopping }

// room is how many more machines of the type the limits allow.
func (pl *planner) room(o *offer) int {
	return max(0, min(o.typ.Max-o.machines(), pl.req.Config.MaxWorkers-pl.workers, pl.affordable(o)))
}

// fill is what one new node of a type would take of the wants.
type fill struct {
	offer   *offer
	pattern []int // count of each want
	score   score
}

// score says how well a fill uses its node. Fields are compared in order.
type score struct {
	gpuOK bool    // no GPU is wasted on things that need none
	kinds int     // resources of the node that are used
	grade int     // use in tenths; equal grades are decided by priority and price
	prio  int     // configured
	cost  float64 // price per share of the demand that is served
	use   float64 // mean over the resources of (used/total)³
	size  float64 // a larger node saves machines
}

func (s score) compare(o score) int {
	return cmp.Or(compareBool(s.gpuOK, o.gpuOK), cmp.Compare(s.kinds, o.kinds), cmp.Compare(s.grade, o.grade),
		cmp.Compare(s.prio, o.prio), cmp.Compare(o.cost, s.cost), cmp.Compare(s.use, o.use), cmp.Compare(s.size, o.size))
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	if a == b {
		return 0
	}
	if b {
		return -1
	}
	return 1
}

// tryFill puts as much of the wants as possible on one empty node of the
// type; ok is false if nothing fits.
func (pl *planner) tryFill(o *offer, wants []want, totals []float64) (f fill, ok bool) {
	free := slices.Clone(o.total)
	f = fill{offer: o, pattern: make([]int, len(wants)), score: score{gpuOK: !o.gpu || pl.req.Config.SpendGPU, prio: o.typ.Priority}}
	for i, w := range wants {
		if w.count == 0 || len(w.shape.selector) > 0 && !matchLabels(o.labels, w.shape.selector) {
			continue
		}
		n := min(free.fits(w.shape.need), w.count)
		if n == 0 {
			continue
		}
		ok = true
		f.pattern[i] = n
		free.sub(w.shape.need, int64(n))
		f.score.gpuOK = f.score.gpuOK || w.shape.gpu
	}
	if ok {
		f.score.rate(o, free, totals, pl.space.memory)
	}
	return f, ok
}

// rate computes the score's numbers from what is left free on the node.
// Memory counts only if something asks for it: which types have it noted
// depends on the file and on what was launched before.
func (s *score) rate(o *offer, free vec, totals []float64, memory []bool) {
	resources, share := 0, 0.0
	for i, total := range o.total {
		if total <= 0 || memory[i] && totals[i] == 0 {
			continue
		}
		resources++
		used := float64(total - free[i])
		if used > 0 {
			s.kinds++
			s.use += math.Pow(used/float64(total), 3)
			share += used / totals[i]
		}
		s.size += math.Log1p(float64(total))
	}
	if resources > 0 {
		s.use /= float64(resources)
	}
	s.grade = int(math.Round(s.use * 10))
	if share > 0 {
		s.cost = o.typ.Price / share
	}
}

// launch plans new nodes for the wants and reduces their counts by what those
// nodes take. What remains could not be served.
func (pl *planner) launch(p *packer, wants []want, reason string, bypass bool) {
	totals := make([]float64, len(pl.space.names))
	for _, w := range wants {
		for i, n := range w.shape.need {
			totals[i] += float64(n) * float64(w.count)
		}
	}
	for {
		best, ok := pl.bestFill(wants, totals)
		if !ok {
			return
		}
		times := pl.room(best.offer)
		for i, n := range best.pattern {
			if n > 0 {
				times = min(times, wants[i].count/n)
			}
		}
		for range times {
			b := pl.newBin(best.offer, reason, bypass)
			p.bins = append(p.bins, b)
			for i, n := range best.pattern {
				if n > 0 {
					p.put(b, wants[i].shape, n)
					b.holds = append(b.holds, want{wants[i].shape, n})
				}
			}
		}
		for i, n := range best.pattern {
			wants[i].count -= n * times
		}
	}
}

// bestFill is the best type for a next node, among those with room.
func (pl *planner) bestFill(wants []want, totals []float64) (best fill, ok bool) {
	for _, o := range pl.offers {
		if o.block != nil || pl.room(o) == 0 {
			continue
		}
		f, fits := pl.tryFill(o, wants, totals)
		if fits && (!ok || f.score.compare(best.score) > 0) {
			best, ok = f, true
		}
	}
	return best, ok
}

// newBin plans one node of the type.
func (pl *planner) newBin(o *offer, reason string, bypass bool) *bin {
	o.planned++
	pl.count(o.name, 1)
	b := &bin{
		nodeType: o.name, class: classPlanned, total: o.total, free: slices.Clone(o.total),
		labels: o.labels, gpu: o.gpu, reason: reason, bypass: bypass,
	}
	pl.planned = append(pl.planned, b)
	return b
}

// rollback takes the planned bins from index from on back.
func (pl *planner) rollback(from int) {
	for _, b := range pl.planned[from:] {
		pl.byName[b.nodeType].planned--
		pl.count(b.nodeType, -1)
	}
	pl.planned = pl.planned[:from]
}

// holdReason says why a shape that some type could hold gets no node now.
func (pl *planner) holdReason(s *shape) string {
	var reason string
	for _, o := range pl.offers {
		if o.total.fits(s.need) == 0 || !matchLabels(o.labels, s.selector) {
			continue
		}
		switch {
		case o.block != nil:
			return fmt.Sprintf("type %s could not be launched (%s); next try %s", o.name, o.block.Reason, untilText(pl.req.Now, o.block.Until))
		case o.machines() >= o.typ.Max:
			reason = fmt.Sprintf("max_workers %d of type %s is reached", o.typ.Max, o.name)
		case pl.workers < pl.req.Config.MaxWorkers && pl.affordable(o) == 0:
			reason = pl.budgetReason(o)
		case reason == "":
			reason = pl.limitReason()
		}
	}
	if reason == "" {
		return "only nodes that are busy now can hold it, and no node type that may be launched can"
	}
	return reason
}

func untilText(now, until time.Time) string {
	if wait := until.Sub(now).Round(time.Second); wait > 0 {
		return "in " + wait.String()
	}
	return "now"
}
