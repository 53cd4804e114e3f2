package scheduler

import (
	"encoding/json"
	"math/rand/v2"
	"slices"

	"ray/internal/spec"
)

// changeLog lists the slots of nodes that changed, in order. Shapes read on
// from where they stopped, so a heartbeat costs one entry and not one look-up
// for every shape.
type changeLog struct {
	first int // number of slots[0]
	slots []int32
}

const logKeeps = 1 << 16

func (l *changeLog) add(slot int) {
	if len(l.slots) >= 2*logKeeps {
		l.slots = append(l.slots[:0], l.slots[logKeeps:]...)
		l.first += logKeeps
	}
	l.slots = append(l.slots, int32(slot))
}

func (l *changeLog) end() int { return l.first + len(l.slots) }

// shape indexes the nodes for all rows that need the same of a node: those with
// room for one more, and those that could take it later, each best first.
type shape struct {
	c      *Cluster
	p      placer // of which wrong and rank are used
	labels map[string]string
	read   int // changes of the log that are in
	used   int // for dropping the one not used for longest
	nodes  []shapeNode
	fits   int // nodes that could run it if they were free
	free   ranking
	busy   ranking
	random *rand.Rand

	whyNone   string // infeasibleReason, at static
	whyStatic uint32
	noTurn    int // the round in which no node's turnover had room
}

// shapeNode is what a shape knows of a slot.
type shapeNode struct {
	version uint32 // of its entry; others are stale
	static  uint32 // of the node when possible was found
	id      spec.NodeID
	fits    bool
}

// maxShapes bounds the indexes that are kept.
const maxShapes = 512

// shapeOf finds or makes the index for a row, and brings it up to date. Only
// rows that any node may serve have one.
func (c *Cluster) shapeOf(p *placer, selector map[string]string) *shape {
	st := p.row.Strategy
	if st.Kind == spec.StrategyNodeAffinity { // whose node has been tried
		st = spec.Strategy{}
	}
	text, _ := json.Marshal([]any{st.Kind, st.HardLabels, st.SoftLabels, selector, p.row.Python}) // plain values
	key := string(text) + p.need.Key()
	s := c.shapes[key]
	if s == nil {
		if len(c.shapes) >= maxShapes {
			c.dropShape()
		}
		s = &shape{c: c, p: placer{c: c, row: Row{Strategy: st, Python: p.row.Python, LabelSelector: selector}, need: p.need.Clone()}, labels: selector, read: -1}
		c.shapes[key] = s
	}
	c.uses++
	s.used, s.random = c.uses, p.random
	s.catchUp()
	return s
}

func (c *Cluster) dropShape() {
	oldest := ""
	for key, s := range c.shapes {
		if oldest == "" || s.used < c.shapes[oldest].used {
			oldest = key
		}
	}
	delete(c.shapes, oldest)
}

// catchUp takes in what changed.
func (s *shape) catchUp() {
	l := &s.c.log
	if s.read < l.first || l.end()-s.read > 2*len(s.c.slots)+64 {
		s.rebuild()
	} else {
		for _, slot := range l.slots[s.read-l.first:] {
			s.refresh(int(slot))
		}
		if len(s.free)+len(s.busy) > 4*len(s.c.slots)+64 {
			s.rebuild()
		}
	}
	s.read = l.end()
}

func (s *shape) rebuild() {
	s.free, s.busy = s.free[:0], s.busy[:0]
	for slot := range s.c.slots {
		if e, list := s.entry(slot); list != nil {
			*list = append(*list, e)
		}
	}
	s.free.init()
	s.busy.init()
}

func (s *shape) refresh(slot int) {
	if e, list := s.entry(slot); list != nil {
		if len(*list) > 0 && (*list)[0].slot == e.slot { // its old entry
			list.replaceTop(e)
		} else {
			list.put(e)
		}
	}
}

// entry makes the present entry of a slot, and says into which list it goes:
// nil if the node is no choice.
func (s *shape) entry(slot int) (e entry, list *ranking) {
	for len(s.nodes) <= slot {
		s.nodes = append(s.nodes, shapeNode{})
	}
	at, n := &s.nodes[slot], s.c.slots[slot]
	at.version++
	if n == nil || at.id != n.ID || at.static != n.static {
		if at.fits {
			s.fits--
		}
		*at = shapeNode{version: at.version}
		if n != nil {
			at.id, at.static = n.ID, n.static
			at.fits = s.p.wrong(n, s.labels) == "" && n.Total.Fits(s.p.need)
		}
		if at.fits {
			s.fits++
		}
	}
	if !at.fits {
		return e, nil
	}
	e = entry{rank: s.p.rank(n), slot: int32(slot), version: at.version, given: n.given, tie: s.random.Uint32()}
	switch {
	case e.rank.busy == 0:
		return e, &s.free
	case n.Backlog > lookahead:
		return e, nil
	}
	if s.p.row.Strategy.Kind != spec.StrategySpread {
		e.rank.wait = int64(n.Backlog/localityGrain) + s.p.spares(n)
	}
	return e, &s.busy
}

// passOver is how many of the best nodes that cannot take a row are passed
// over: the index does not know the row's own times.
const passOver = 32

// first is the node of the best entry if it can take one more of the row.
// sure is false if others must be looked at to know.
func (s *shape) first(list *ranking, p *placer) (n *Node, sure bool) {
	for len(*list) > 0 {
		e := &(*list)[0]
		if s.nodes[e.slot].version != e.version {
			list.pop()
			continue
		}
		if n := s.c.slots[e.slot]; p.canTake(n) {
			return n, true
		}
		return nil, false
	}
	return nil, true
}

// top pops the best entries of nodes that can take one more of the row, at most
// k, and those it passes over. The caller puts all back.
func (s *shape) top(list *ranking, k int, p *placer) (found, passed []entry) {
	for len(*list) > 0 && len(found) < k && len(passed) < passOver {
		e := list.pop()
		switch {
		case s.nodes[e.slot].version != e.version:
		case p.canTake(s.c.slots[e.slot]):
			found = append(found, e)
		default:
			passed = append(passed, e)
		}
	}
	return found, passed
}

// feasible lists nodes that could run the row if they were free, at most n of
// them, beginning anywhere.
func (s *shape) feasible(n int) []*Node {
	var out []*Node
	start := 0
	if len(s.nodes) > n {
		start = s.random.IntN(len(s.nodes))
	}
	for i := range s.nodes {
		slot := (start + i) % len(s.nodes)
		if s.nodes[slot].fits && len(out) < n {
			out = append(out, s.c.slots[slot])
		}
	}
	slices.SortFunc(out, func(a, b *Node) int { return a.slot - b.slot })
	return out
}
