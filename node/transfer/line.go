package transfer

import (
	"slices"
	"sync"
	"time"

	"ray/internal/spec"
)

// A source that many nodes ask for the same large object at about the same
// time sends it to the first of them and names that one to the next: so every
// link carries the object once or twice, however many nodes want it.
const (
	// lineFrom is the size in bytes from which that is worth a detour.
	lineFrom = 4 * rangeBytes
	// Objects of many ranges go along chains of so many nodes, each of which
	// sends on what it has while the rest arrives; others go through a tree.
	chainFrom = 32 * rangeBytes
	chain     = 16
	// lineKept is how long the nodes that got an object are remembered.
	lineKept = 10 * time.Second
)

// line is who has asked for an object, in order.
type line struct {
	nodes []spec.NodeID
	used  time.Time
}

// join adds a node and gives the one that it should ask; zero: the source. One
// that comes again has been disappointed, and asks the source.
func (l *line) join(n spec.NodeID, size uint64) (at spec.NodeID) {
	if slices.Contains(l.nodes, n) {
		return at
	}
	l.nodes = append(l.nodes, n)
	if p := parent(len(l.nodes), size); p > 0 {
		return l.nodes[p-1]
	}
	return at
}

// parent is the place, from 1, of the node that the one at place p asks; 0 is
// the source.
func parent(p int, size uint64) int {
	switch {
	case size < chainFrom:
		return (p - 1) / 2
	case p <= chain:
		return p - 1
	}
	return p - 1 - chain
}

// lines are the lines of a source.
type lines struct {
	mu      sync.Mutex
	of      map[spec.ObjectID]*line
	cleaned time.Time
}

func (ls *lines) join(id spec.ObjectID, n spec.NodeID, size uint64, now time.Time) spec.NodeID {
	if size < lineFrom {
		return spec.NodeID{}
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if now.Sub(ls.cleaned) > lineKept {
		ls.cleaned = now
		for id, l := range ls.of {
			if now.Sub(l.used) > lineKept {
				delete(ls.of, id)
			}
		}
	}
	l := ls.of[id]
	if l == nil || now.Sub(l.used) > lineKept {
		l = &line{}
		ls.of[id] = l
	}
	l.used = now
	return l.join(n, size)
}

// sent notes that an object is being sent: its line is in use.
func (ls *lines) sent(id spec.ObjectID, now time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.of[id]; l != nil {
		l.used = now
	}
}

// forget takes a dead node out of all lines.
func (ls *lines) forget(n spec.NodeID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.of {
		l.nodes = slices.DeleteFunc(l.nodes, func(m spec.NodeID) bool { return m == n })
	}
}
