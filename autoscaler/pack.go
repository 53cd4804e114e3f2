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
	index map[string]int
	names []string
}

func (s *space) add(r spec.Resources) {
	for _, name := range r.Names() {
		if _, ok := s.index[name]; !ok {
			s.index[name] = len(s.names)
			s.names = append(s.names, name)
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
	// next is, for the plain and the GPU bins, the first bin that may still
	// have room. Room only shrinks during a round (an undone transaction
	// restores these too), so each shape walks over each bin once.
	next [2]int
}

// want is a count of one shape.
type want struct {
	shape *shape
	count int
}

// packer places shapes into bins. Bins without a GPU come first for shapes
// that need none, so that GPU machines are kept for what needs them.
type packer struct {
	bins [2][]*bin // plain, GPU
	// log is the undo log of the open transaction, nil outside of one.
	log *undoLog
}

type undoLog struct {
	placed  []placement
	cursors map[*shape][2]int
	lengths [2]int
}

type placement struct {
	bin     *bin
	need    vec
	count   int
	wasUsed bool
}

func newPacker(bins []*bin) *packer {
	sorted := slices.Clone(bins)
	size := make(map[*bin]float64, len(bins))
	for _, b := range bins {
		for _, amount := range b.total {
			size[b] += math.Log1p(float64(amount))
		}
	}
	slices.SortStableFunc(sorted, func(a, b *bin) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(size[a], size[b]), cmp.Compare(a.name, b.name))
	})
	p := &packer{}
	for _, b := range sorted {
		p.add(b)
	}
	return p
}

func gpuIndex(gpu bool) int {
	if gpu {
		return 1
	}
	return 0
}

func (p *packer) add(b *bin) { i := gpuIndex(b.gpu); p.bins[i] = append(p.bins[i], b) }

// place puts up to count of s into the bins and returns how many found room.
func (p *packer) place(s *shape, count int) int {
	placed := 0
	for list := gpuIndex(s.gpu); list < 2; list++ {
		for ; s.next[list] < len(p.bins[list]) && placed < count; p.advance(s, list) {
			b := p.bins[list][s.next[list]]
			n := min(b.room(s), count-placed)
			p.put(b, s, n)
			placed += n
			if placed == count {
				return placed
			}
		}
	}
	return placed
}

// placeApart puts one of s into a bin that avoid does not hold, and returns
// that bin, or nil.
func (p *packer) placeApart(s *shape, avoid map[*bin]bool) *bin {
	for list := gpuIndex(s.gpu); list < 2; list++ {
		atFront := true
		for i := s.next[list]; i < len(p.bins[list]); i++ {
			b := p.bins[list][i]
			full := b.room(s) == 0
			if full && atFront {
				p.advance(s, list)
				continue
			}
			atFront = false
			if !full && !avoid[b] {
				p.put(b, s, 1)
				return b
			}
		}
	}
	return nil
}

func (p *packer) advance(s *shape, list int) {
	if p.log != nil {
		if _, ok := p.log.cursors[s]; !ok {
			p.log.cursors[s] = s.next
		}
	}
	s.next[list]++
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
	p.log = &undoLog{cursors: map[*shape][2]int{}, lengths: [2]int{len(p.bins[0]), len(p.bins[1])}}
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
	for i, n := range p.log.lengths {
		p.bins[i] = p.bins[i][:n]
	}
	p.log = nil
}
