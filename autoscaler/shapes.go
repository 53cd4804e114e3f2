package autoscaler

import (
	"cmp"
	"maps"
	"slices"

	"ray/internal/spec"
)

// shapeOf is the shape of a demand with the first of its label selectors that
// some node or type can satisfy; ok is false if none can.
func (pl *planner) shapeOf(d spec.Demand) (s *shape, ok bool) {
	key := d.Resources.Key() + "|" + selectorText(d.LabelSelector)
	for _, fallback := range d.Fallback {
		key += "|" + selectorText(fallback)
	}
	if s, ok := pl.shapes[key]; ok {
		return s, s != nil
	}
	need := pl.space.vec(d.Resources)
	for _, selector := range append([]map[string]string{d.LabelSelector}, d.Fallback...) {
		if pl.feasible(need, selector) {
			s = &shape{demand: d, need: need, selector: selector, gpu: d.Resources[spec.GPU] > 0, key: key}
			break
		}
	}
	pl.shapes[key] = s
	return s, s != nil
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
