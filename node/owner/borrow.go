package owner

import (
	"slices"

	"ray/internal/spec"
)

// lose marks an object of which no known copy is left, and has it looked for,
// or made again, if somebody waits for it.
func (s *State) lose(o *Object) {
	s.markLost(o)
	if len(o.waiters) > 0 {
		s.want(o)
	}
}

func (s *State) markLost(o *Object) {
	if s.seek(o) {
		return
	}
	if o.Owned() {
		o.Where = Lost
	} else {
		o.Where = Pending
		o.asked = false
	}
}

// LocationLost is a borrower's word that node has no copy of an object owned here.
func (s *State) LocationLost(id spec.ObjectID, node spec.NodeID) {
	o := s.objects[id]
	if o == nil || !o.Owned() {
		return
	}
	o.Locs = slices.DeleteFunc(o.Locs, func(n spec.NodeID) bool { return n == node })
	if o.Where == Remote && len(o.Locs) == 0 {
		if !o.sought {
			o.lostOn, o.lostWhy = node, "it has no readable copy any more"
		}
		s.lose(o)
	}
}

// BorrowedBy records that node refers to an object owned here.
func (s *State) BorrowedBy(id spec.ObjectID, node spec.NodeID) bool {
	o := s.objects[id]
	if o == nil || !o.Owned() || s.dead[node] {
		return o != nil
	}
	s.named(id, node)
	if !slices.Contains(o.borrow, node) {
		o.borrow = append(o.borrow, node)
	}
	return true
}

// UnborrowedBy undoes BorrowedBy.
func (s *State) UnborrowedBy(id spec.ObjectID, node spec.NodeID) {
	o := s.objects[id]
	if o == nil {
		return
	}
	o.borrow = slices.DeleteFunc(o.borrow, func(n spec.NodeID) bool { return n == node })
	s.settle(o)
}

// BorrowAcked is the owner's answer to EffBorrow.
func (s *State) BorrowAcked(id spec.ObjectID) {
	if o := s.objects[id]; o != nil && o.borrowed {
		o.acked = true
		s.dropAdoptions(o)
	}
}

func (s *State) dropAdoptions(o *Object) {
	as := o.adoptions
	o.adoptions = nil
	for _, a := range as {
		if a.left--; a.left == 0 {
			s.emit(Effect{Kind: EffAdopted, Adoption: a})
		}
	}
}

// Adopt tells, by EffAdopted, when the owners of refs (which the caller has
// pinned or delivered) know this node. from sent them: what it owns itself
// needs no wait, because it hears of the borrowing first.
func (s *State) Adopt(from spec.NodeID, refs []spec.Ref, token any) {
	a := &Adoption{Token: token, Node: from, left: 1}
	for _, r := range refs {
		o := s.objects[r.ID]
		if o == nil || o.Owned() || o.acked || o.Owner == from || !o.borrowed || s.dead[o.Owner] {
			continue
		}
		a.left++
		o.adoptions = append(o.adoptions, a)
	}
	if a.left--; a.left == 0 {
		s.emit(Effect{Kind: EffAdopted, Adoption: a})
	}
}

// AskedBy serves another node's question for a value: EffTell once it exists.
func (s *State) AskedBy(id spec.ObjectID, node spec.NodeID) bool {
	o := s.objects[id]
	if o == nil {
		return false
	}
	s.wait(o, waiter{kind: waitNode, node: node})
	return true
}

// Told fills in the value of a borrowed object, as its owner told it.
func (s *State) Told(id spec.ObjectID, v Value) {
	o := s.objects[id]
	if o == nil || o.Owned() || o.Here() {
		return
	}
	if v.Where == Remote && slices.Contains(v.Nodes, s.self) {
		// The owner has yet to read that this node has none: see seek.
		if v.Nodes = without(v.Nodes, s.self); len(v.Nodes) == 0 {
			s.lose(o)
			return
		}
	}
	if v.Where == Remote && o.Where == Remote {
		o.Locs = v.Nodes
		s.wake(o)
		return
	}
	s.setValue(o, v)
}

// Hold keeps the primary copy of a result in this node's arena for its owner.
func (s *State) Hold(r spec.Ref, off, size uint64, nested []spec.Ref) {
	o := s.objects[r.ID]
	if o == nil {
		o = &Object{ID: r.ID, Owner: r.Owner}
		s.objects[r.ID] = o
	}
	if o.Owned() {
		return
	}
	o.hold = true
	s.setValue(o, Value{Where: Arena, Off: off, Size: size, Refs: nested})
}

// Unhold gives a held primary copy up.
func (s *State) Unhold(id spec.ObjectID) {
	o := s.objects[id]
	if o == nil || !o.hold {
		return
	}
	o.hold, o.Primary = false, false
	s.settle(o)
}

// NodeDead drops what depended on a node that the head has declared dead.
// end tells people when and why. Tasks sent there have failed: failed tells
// the caller which.
func (s *State) NodeDead(node spec.NodeID, end string) (failed []*Task) {
	if s.dead[node] {
		return nil
	}
	s.dead[node] = true
	s.ends[node] = end
	var borrowed, lost, orphans []*Object
	for _, o := range s.objects {
		if slices.Contains(o.borrow, node) {
			borrowed = append(borrowed, o)
		}
		if slices.Contains(o.Locs, node) {
			lost = append(lost, o)
		}
		if o.Owner == node {
			orphans = append(orphans, o)
		}
	}
	gone := lost[:0]
	for _, o := range lost {
		o.Locs = slices.DeleteFunc(o.Locs, func(n spec.NodeID) bool { return n == node })
		switch {
		case len(o.Locs) > 0 || o.Owner == node:
		case o.Where == Remote:
			o.pulling = false
			o.lostOn, o.lostWhy = node, ""
			s.markLost(o)
			gone = append(gone, o)
		case o.Where == Arena && o.Owned():
			s.emit(Effect{Kind: EffKeep, Node: s.self, ID: o.ID})
		}
	}
	// Only now: a task that is run again must not take for there what is lost with the same node.
	for _, o := range gone {
		if len(o.waiters) > 0 {
			s.want(o)
		}
	}
	for _, o := range borrowed {
		s.UnborrowedBy(o.ID, node)
	}
	for _, o := range orphans {
		s.orphan(o)
	}
	s.ended(node)
	for _, t := range s.tasks {
		if t.Node == node && t.State != TaskDone && t.Kind != KindCreate {
			failed = append(failed, t)
		}
	}
	return failed
}

// orphan deals with a borrowed object whose owner is dead.
func (s *State) orphan(o *Object) {
	o.pulling = false
	s.dropAdoptions(o)
	if o.hold {
		o.hold = false
	}
	if !o.Here() {
		s.fail(o, s.ownerDied(o.ID, o.Owner))
	}
	s.settle(o)
}
