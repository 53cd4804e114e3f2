package autoscaler

import (
	"cmp"
	"math"
	"slices"

	"ray/internal/spec"
)

// vec is an amount of each resource, by its index in a space. Dense vectors
// make the inner loops of packing about twenty times faster than maps.
type vec []int64

// space numbers the resource names of one planning round.
type space struct {
	index  map[string]int
	names  []string
	memory []bool // memory and object store memory
}

func (s *space) add(r spec.Resources) {
	for _, name := range r.Names() {
		if _, ok := s.index[name]; !ok {
			s.index[name] = len(s.names)
			s.names = append(s.names, name)
			s.memory = append(s.memory, name == spec.Memory || name == spec.ObjectStoreMemory)
		}
	}
}

func (s *space) vec(r spec.Resources) vec {
	v := make(vec, len(s.names))
	for name, amount := range r {
		if i, ok := s.index[name]; ok {
			v[i] = int64(amount)
		}
	}
	return v
}

func (v vec) sub(need vec, times int64) {
	for i, n := range need {
		v[i] -= n * times
	}
}

// fits is how many times need goes into v. A need of nothing goes in without
// end.
func (v vec) fits(need vec) int {
	most := int64(math.MaxInt32)
	for i, n := range need {
		if n > 0 {
			most = min(most, v[i]/n)
		}
		if most <= 0 {
			return 0
		}
	}
	return int(most)
}

// Classes of bins in the order in which they are filled: first what stays
// anyway, then what works already, so that idle nodes may leave.
const (
	classFixed    = iota // the head, and nodes that no instance stands for
	classBusy            // nodes with work
	classIdle            // nodes without
	classInFlight        // machines on their way
	classPlanned         // machines that this round decides to launch
)

// bin is a node, present or to come, that things are placed into.
type bin struct {
	name     string // instance ID or node ID, for a stable order
	instance string // instance ID, "" if there is none
	node     spec.NodeID
	nodeType string
	class    int
	born     int64 // ms
	place    int   // among those launched together
	total    vec
	free     vec
	labels   map[string]string
	gpu      bool
	used     bool // something that waits is placed here

	// Of planned bins: why, whether the upscaling speed does not hold it
	// back, and what made it necessary.
	reason string
	bypass bool
	holds  []want
}

// shape is a set of equal needs with the same label conditions.
type shape struct {
	demand   spec.Demand // one of them, for messages; Count is not used
	need     vec
	selector map[string]string
	gpu      bool
	key      string // canonical text
	// others are the same under further selectors, in the order of preference.
	others []*shape
	// next is the first bin that may still have room. Room only shrinks
	// during a round (an undone transaction restores this too), so full bins
	// are looked at once by each shape.
	next int
}

// want is a count of one shape.
type want struct {
	shape *shape
	count int
}

// packer places shapes into bins, which stand in the order in which they are
// filled.
type packer struct {
	bins []*bin
	log  *undoLog // of the open transaction, nil outside of one
}

type undoLog struct {
	placed  []placement
	cursors map[*shape]int
	length  int
}

type placement struct {
	bin     *bin
	need    vec
	count   int
	wasUsed bool
}

// newPacker sorts the bins by class. Of the nodes that work, those with a GPU
// come last, so that they are kept for what needs one. Machines on their way
// stand in the order in which they were launched: a later round then puts the
// same things into them as the round that launched them, and needs no others.
func newPacker(bins []*bin) *packer {
	sorted := slices.Clone(bins)
	slices.SortStableFunc(sorted, func(a, b *bin) int {
		return cmp.Or(cmp.Compare(a.class, b.class), compareBool(a.gpu && a.class < classInFlight, b.gpu && b.class < classInFlight),
			cmp.Compare(a.born, b.born), cmp.Compare(a.place, b.place), cmp.Compare(a.name, b.name))
	})
	return &packer{bins: sorted}
}

// fill puts as much of the wants as possible into the bins, bin by bin and in
// each bin in the order of the wants, and takes what found room off their
// counts. It fills a bin exactly as tryFill fills a new node.
func (p *packer) fill(wants []want) {
	active := make([]*want, 0, len(wants))
	first := len(p.bins)
	for i := range wants {
		if w := &wants[i]; w.count > 0 {
			active = append(active, w)
			first = min(first, w.shape.next)
		}
	}
	for at := first; at < len(p.bins) && len(active) > 0; at++ {
		b, done := p.bins[at], false
		for _, w := range active {
			if at < w.shape.next {
				continue
			}
			n := min(b.room(w.shape), w.count)
			if n == 0 {
				p.pass(w.shape, at)
				continue
			}
			p.put(b, w.shape, n)
			w.count -= n
			done = done || w.count == 0
		}
		if done {
			active = slices.DeleteFunc(active, func(w *want) bool { return w.count == 0 })
		}
	}
}

// placeApart puts one of s into a bin that avoid does not hold, and returns
// that bin, or nil.
func (p *packer) placeApart(s *shape, avoid map[*bin]bool) *bin {
	for at := s.next; at < len(p.bins); at++ {
		b := p.bins[at]
		if b.room(s) == 0 {
			p.pass(s, at)
		} else if !avoid[b] {
			p.put(b, s, 1)
			return b
		}
	}
	return nil
}

// pass remembers that bin number at has no room for s, if all before it have
// none either.
func (p *packer) pass(s *shape, at int) {
	if s.next != at {
		return
	}
	if p.log != nil {
		if _, ok := p.log.cursors[s]; !ok {
			p.log.cursors[s] = at
		}
	}
	s.next++
}

// room is how many of s the bin can take.
func (b *bin) room(s *shape) int {
	n := b.free.fits(s.need)
	if n > 0 && len(s.selector) > 0 && !matchLabels(b.labels, s.selector) {
		return 0
	}
	return n
}

func (p *packer) put(b *bin, s *shape, count int) {
	if count == 0 {
		return
	}
	if p.log != nil {
		p.log.placed = append(p.log.placed, placement{b, s.need, count, b.used})
	}
	b.free.sub(s.need, int64(count))
	b.used = true
}

// begin opens a transaction: until commit or undo, everything placed and added
// can be taken back.
func (p *packer) begin() {
	p.log = &undoLog{cursors: map[*shape]int{}, length: len(p.bins)}
}

func (p *packer) commit() { p.log = nil }

func (p *packer) undo() {
	for _, put := range slices.Backward(p.log.placed) {
		put.bin.free.sub(put.need, -int64(put.count))
		put.bin.used = put.wasUsed
	}
	for s, next := range p.log.cursors {
		s.next = next
	}
	p.bins = p.bins[:p.log.length]
	p.log = nil
}
