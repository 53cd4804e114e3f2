package scheduler

import "cmp"

// entry is a node in a ranking.
type entry struct {
	rank    rank
	given   int
	tie     uint32
	slot    int32
	version uint32
}

func (e *entry) before(o *entry) bool {
	return cmp.Or(e.rank.compare(o.rank), e.given-o.given, cmp.Compare(e.tie, o.tie)) < 0
}

// ranking is a binary heap, best first. Entries of nodes that have changed
// since stay until they come up.
type ranking []entry

func (r ranking) init() {
	for i := len(r)/2 - 1; i >= 0; i-- {
		r.down(i)
	}
}

func (r ranking) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(r) {
			return
		}
		if other := least + 1; other < len(r) && r[other].before(&r[least]) {
			least = other
		}
		if !r[least].before(&r[i]) {
			return
		}
		r[i], r[least] = r[least], r[i]
		i = least
	}
}

func (r *ranking) put(e entry) {
	*r = append(*r, e)
	h := *r
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (r *ranking) pop() entry {
	h := *r
	e, last := h[0], len(h)-1
	h[0] = h[last]
	*r = h[:last]
	(*r).down(0)
	return e
}

func (r ranking) replaceTop(e entry) {
	r[0] = e
	r.down(0)
}
