package autoscaler

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"ray/internal/spec"
)

// shapeOf is the shape of a demand with the first of its label selectors that
// some node or type can satisfy, and with the later ones that can as others; ok
// is false if none can.
func (pl *planner) shapeOf(d spec.Demand) (s *shape, ok bool) {
	key := d.Resources.Key() + "|" + selectorText(d.LabelSelector)
	for _, fallback := range d.Fallback {
		key += "|" + selectorText(fallback)
	}
	if s, ok := pl.shapes[key]; ok {
		return s, s != nil
	}
	need := pl.space.vec(d.Resources)
	for i, selector := range append([]map[string]string{d.LabelSelector}, d.Fallback...) {
		if !pl.feasible(need, selector) {
			continue
		}
		one := &shape{demand: d, need: need, selector: selector, gpu: d.Resources[spec.GPU] > 0, key: key}
		if s == nil {
			s = one
			continue
		}
		one.key += "|" + strconv.Itoa(i)
		s.others = append(s.others, one)
		pl.shapes[one.key] = one
	}
	pl.shapes[key] = s
	return s, s != nil
}

// fillAny puts the wants into the bins, each under the first of its selectors
// that has room, as the scheduler would place them.
func fillAny(p *packer, wants []want) {
	p.fill(wants)
	elsewhere(wants, p.fill)
}

// launchAny plans new nodes for the wants; what no node can be launched for
// under one selector, because a type is used up or has no capacity, is tried
// under the next.
func (pl *planner) launchAny(p *packer, wants []want, reason string, bypass bool) {
	pl.launch(p, wants, reason, bypass)
	elsewhere(wants, func(others []want) { pl.launch(p, others, reason, bypass) })
}

// elsewhere does something for what is left of the wants under their other
// selectors, the second of each first, and takes what it did off their counts.
func elsewhere(wants []want, do func([]want)) {
	for level := 0; ; level++ {
		var others []want
		var of []int
		for i, w := range wants {
			if w.count > 0 && level < len(w.shape.others) {
				others, of = append(others, want{w.shape.others[level], w.count}), append(of, i)
			}
		}
		if len(others) == 0 {
			return
		}
		do(others)
		for i, o := range others {
			wants[of[i]].count = o.count
		}
	}
}

// ordered sums wants of the same shape and sorts them so that the hardest to
// place come first: GPU, label conditions, the largest share of a node.
func (pl *planner) ordered(wants []want) []want {
	sums := map[*shape]int{}
	for _, w := range wants {
		sums[w.shape] += w.count
	}
	out := make([]want, 0, len(sums))
	size := make(map[*shape]float64, len(sums))
	for s := range maps.Keys(sums) {
		out = append(out, want{s, sums[s]})
		size[s] = pl.dominantShare(s.need)
	}
	slices.SortFunc(out, func(a, b want) int {
		return cmp.Or(compareBool(b.shape.gpu, a.shape.gpu), cmp.Compare(len(b.shape.selector), len(a.shape.selector)),
			cmp.Compare(size[b.shape], size[a.shape]), cmp.Compare(a.shape.key, b.shape.key))
	})
	return out
}

// dominantShare is the largest fraction of any resource of the largest node.
func (pl *planner) dominantShare(need vec) float64 {
	share := 0.0
	for i, n := range need {
		if n > 0 && pl.largest[i] > 0 {
			share = max(share, float64(n)/float64(pl.largest[i]))
		}
	}
	return share
}
