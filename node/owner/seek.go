package owner

import (
	"slices"

	"ray/internal/spec"
)

// Who pulls an object tells its owner nothing of the copy, which may be evicted
// at any time. So when the last copy that the owner counts on is gone, it takes
// every borrower for one that has another until that has said otherwise: what
// lies somewhere is not made again, and what nothing can make again is not lost.

func without(nodes []spec.NodeID, node spec.NodeID) []spec.NodeID {
	return slices.DeleteFunc(slices.Clone(nodes), func(n spec.NodeID) bool { return n == node })
}

// seek asks the borrowers of an object for their copies. False: there are none
// to ask, or all have been asked since a copy was last known.
func (s *State) seek(o *Object) bool {
	if !o.Owned() || o.sought {
		return false
	}
	o.Locs = slices.DeleteFunc(slices.Clone(o.borrow), func(n spec.NodeID) bool { return n == s.self || s.dead[n] })
	if len(o.Locs) == 0 {
		return false
	}
	o.sought, o.Where, o.pulling = true, Remote, false
	for _, n := range o.Locs {
		s.emit(Effect{Kind: EffKeep, Node: n, ID: o.ID})
	}
	return true
}

// Keep makes this node's copy of an object one that its owner counts on. kept
// tells whether the store has it still, and sees to it that it stays; it is
// called only where this table says that a copy is here.
func (s *State) Keep(id spec.ObjectID, kept func() bool) bool {
	o := s.objects[id]
	if o == nil || o.Where != Arena || !kept() {
		return false
	}
	o.hold, o.Primary = o.hold || !o.Owned(), true
	return true
}

// Kept is node's word that it has the copy that it was asked for.
func (s *State) Kept(id spec.ObjectID, node spec.NodeID) {
	o := s.objects[id]
	switch {
	case s.dead[node]:
	case o != nil && o.Owned() && o.sought:
		o.Locs, o.sought = []spec.NodeID{node}, false
	case o == nil || !o.Owned() || !slices.Contains(o.Locs, node):
		// Another one was quicker, or the object was freed or made again: it may be evicted.
		s.emit(Effect{Kind: EffFreeRemote, Node: node, ID: id})
	}
}
