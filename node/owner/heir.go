package owner

import (
	"maps"
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
)

// A node that drains leaves what it owns to an heir. It freezes its table
// (Bequeath), the heir takes each entry (Inherit) and says so, and only then
// does the node become a borrower of its own objects (HandedOver) and the
// cluster learns of the heir (SetHeir). Each node then tells the heir what it
// borrows; what it does not name it had let go of, in words that the drained
// node did not pass on (Confirmed).

// Bequest is one object that changes its owner.
type Bequest struct {
	ID        spec.ObjectID
	Value     Value
	Borrowers []spec.NodeID
	Site      string
}

// estate is what a node does not answer for while it hands its objects over.
type estate struct {
	frozen map[spec.ObjectID]bool
	// heirs of nodes that have handed over, and what was inherited from whom.
	heirs     map[spec.NodeID]spec.NodeID
	inherited map[spec.NodeID]map[spec.ObjectID][]spec.NodeID // borrowers that have not confirmed
	told      map[spec.NodeID]bool                            // SetHeir was served
	left      bool                                            // HandedOver
}

// Final tells whether every object that is owned here could go to an heir
// without loss: nothing is still being made, and no actor is owned here.
func (s *State) Final() bool {
	for _, o := range s.objects {
		if o.Owned() && !o.final() {
			return false
		}
	}
	return true
}

func (o *Object) final() bool {
	return o.Known() && (o.task == nil || o.task.State == TaskDone && o.task.Kind != KindCreate)
}

// Owns tells whether anything is owned here.
func (s *State) Owns() bool {
	for _, o := range s.objects {
		if o.Owned() {
			return true
		}
	}
	return false
}

// Bequeath freezes what is owned here and lists it. What is not final is lost.
func (s *State) Bequeath() (out []Bequest) {
	s.estate.frozen = map[spec.ObjectID]bool{}
	for _, o := range s.objects {
		if !o.Owned() {
			continue
		}
		s.estate.frozen[o.ID] = true
		o.pins++
		b := Bequest{ID: o.ID, Site: o.Site(0), Borrowers: append(slices.Clone(o.borrow), s.self)}
		switch {
		case !o.final():
			e := s.ownerDied(o.ID, s.self)
			e.Message = "object " + o.ID.String() + " is lost: node " + s.self.String() + ", which owned it, was drained before it was made"
			b.Value = Value{Where: Inline, Err: true, Blob: wire.ErrorBlob(e)}
		case o.Where == Arena:
			b.Value = Value{Where: Remote, Size: o.Size, Nodes: append([]spec.NodeID{s.self}, o.Locs...), Refs: o.Nested}
		default:
			b.Value = Value{Where: o.Where, Err: o.Err, Blob: o.Blob, Size: o.Size, Nodes: slices.Clone(o.Locs), Refs: o.Nested}
		}
		out = append(out, b)
	}
	return out
}

// Frozen tells whether words about an object must wait for the heir.
func (s *State) Frozen(id spec.ObjectID) bool { return s.estate.frozen[id] }

// Disowned tells whether an object that is not known here may be the heir's.
func (s *State) Disowned(id spec.ObjectID) bool {
	o := s.objects[id]
	return s.estate.left && (o == nil || !o.Owned())
}

// Thaw takes Bequeath back: the heir has died.
func (s *State) Thaw() {
	frozen := s.estate.frozen
	s.estate.frozen = nil
	for id := range frozen {
		s.unpin(spec.Ref{ID: id})
	}
}

// HandedOver makes this node a borrower of what it has bequeathed.
func (s *State) HandedOver(heir spec.NodeID) {
	frozen := s.estate.frozen
	s.estate.frozen, s.estate.left = nil, true
	s.NoteHeir(s.self, heir)
	for id := range frozen {
		o := s.objects[id]
		t := o.task
		o.Owner, o.task, o.borrow = heir, nil, nil
		o.borrowed, o.acked, o.Primary = true, true, false
		if o.Where == Lost {
			o.Where = Pending
		}
		if t != nil && t.kept {
			if t.live--; t.live <= 0 {
				s.dropLineage(t)
			}
		}
	}
	for id := range frozen {
		s.unpin(spec.Ref{ID: id})
	}
}

// Inherit takes an object over from a node that drains. True: a copy is being
// brought here, EffHere with token will follow.
func (s *State) Inherit(from spec.NodeID, b Bequest, token any) bool {
	o := s.objects[b.ID]
	if o == nil {
		o = &Object{ID: b.ID}
		s.objects[b.ID] = o
	}
	o.Owner, o.hold, o.borrowed, o.asked = spec.NodeID{}, false, false, false
	s.dropAdoptions(o)
	o.sites = nil
	if b.Site != "" {
		o.Note(0, b.Site)
	}
	unconfirmed := slices.DeleteFunc(b.Borrowers, func(n spec.NodeID) bool { return n == s.self || s.dead[n] })
	o.borrow = slices.Clone(unconfirmed)
	if s.estate.inherited[from] == nil {
		s.estate.inherited[from] = map[spec.ObjectID][]spec.NodeID{}
	}
	s.estate.inherited[from][b.ID] = slices.DeleteFunc(unconfirmed, func(n spec.NodeID) bool { return n == from })
	here := o.Here()
	b.Value.Nodes = slices.DeleteFunc(b.Value.Nodes, func(n spec.NodeID) bool { return n == s.self || s.dead[n] })
	switch {
	case !here && b.Value.Where == Remote && len(b.Value.Nodes) == 0:
		o.lostOn = from
		s.lose(o)
	case !here:
		pulling := o.pulling
		s.setValue(o, b.Value)
		o.pulling = pulling && o.Where == Remote
	default:
		o.Locs = b.Value.Nodes
	}
	if o.Where == Inline || !slices.Contains(o.Locs, from) {
		return false
	}
	return s.Bring(spec.Ref{ID: b.ID}, token)
}

// MakePrimary makes this node's copy of an object the one that must stay. The
// copies that others hold for it are theirs to drop.
func (s *State) MakePrimary(id spec.ObjectID, instead spec.NodeID) {
	o := s.objects[id]
	if o == nil || !o.Owned() || o.Where != Arena {
		return
	}
	o.Primary = true
	if slices.Contains(o.Locs, instead) {
		o.Locs = slices.DeleteFunc(o.Locs, func(n spec.NodeID) bool { return n == instead })
		s.emit(Effect{Kind: EffFreeRemote, Node: instead, ID: id})
	}
}

// SetHeir notes that node has left what it owned to heir.
func (s *State) SetHeir(node, heir spec.NodeID) {
	if node == s.self || s.estate.told[node] {
		return
	}
	s.NoteHeir(node, heir)
	s.estate.told[node] = true
	if heir = s.ownerOf(heir); heir == s.self {
		return
	}
	for _, o := range s.objects {
		if o.Owner != node {
			continue
		}
		o.Owner = heir
		if s.dead[heir] {
			s.orphan(o)
			continue
		}
		if o.borrowed {
			o.acked = false
			s.emit(Effect{Kind: EffBorrow, Node: heir, ID: o.ID})
		}
		if o.hold {
			s.emit(Effect{Kind: EffHeld, Node: heir, ID: o.ID})
		}
		o.asked = false
		if len(o.waiters) > 0 {
			s.want(o)
		}
	}
	if !s.dead[heir] {
		s.emit(Effect{Kind: EffConfirm, Node: heir, Loc: node})
	}
}

// NoteHeir makes references to what node owned lead to heir from now on.
func (s *State) NoteHeir(node, heir spec.NodeID) { s.estate.heirs[node] = heir }

// ownerOf follows the heirs of an owner that has left.
func (s *State) ownerOf(node spec.NodeID) spec.NodeID {
	for range len(s.estate.heirs) {
		heir, ok := s.estate.heirs[node]
		if !ok {
			break
		}
		node = heir
	}
	return node
}

// Confirmed: borrower has named everything that it borrows of what node left.
func (s *State) Confirmed(borrower, node spec.NodeID) {
	for id, unconfirmed := range maps.Clone(s.estate.inherited[node]) {
		if slices.Contains(unconfirmed, borrower) {
			s.confirm(node, id, borrower)
			s.UnborrowedBy(id, borrower)
		}
	}
}

// named notes that a borrower has spoken of an inherited object itself.
func (s *State) named(id spec.ObjectID, borrower spec.NodeID) {
	for node := range s.estate.inherited {
		s.confirm(node, id, borrower)
	}
}

func (s *State) confirm(node spec.NodeID, id spec.ObjectID, borrower spec.NodeID) {
	left, ok := s.estate.inherited[node][id]
	if !ok {
		return
	}
	left = slices.DeleteFunc(slices.Clone(left), func(n spec.NodeID) bool { return n == borrower })
	if s.estate.inherited[node][id] = left; len(left) > 0 || !s.dead[node] {
		return
	}
	if delete(s.estate.inherited[node], id); len(s.estate.inherited[node]) == 0 {
		delete(s.estate.inherited, node)
	}
}

// Unknown is an owner's word that it does not know a borrowed object.
func (s *State) Unknown(id spec.ObjectID, from spec.NodeID) {
	o := s.objects[id]
	if o == nil || o.Owned() || o.Owner != from || o.Here() {
		return
	}
	for node, heir := range s.estate.heirs {
		if heir == from && s.dead[node] {
			s.fail(o, s.ownerDied(id, node))
			return
		}
	}
	s.fail(o, freedEarly(id, "freed by its owner while this node still referred to it"))
}

// ended settles what was inherited from a node that is dead now. Without the
// cluster's word that this node is its heir, what it handed over died with it.
func (s *State) ended(node spec.NodeID) {
	for from := range s.estate.inherited {
		s.Confirmed(node, from)
	}
	ids := s.estate.inherited[node]
	if ids == nil {
		return
	}
	if s.ownerOf(node) == s.self {
		maps.DeleteFunc(ids, func(_ spec.ObjectID, left []spec.NodeID) bool { return len(left) == 0 })
	} else {
		for id := range ids {
			if o := s.objects[id]; o != nil && o.Owned() {
				o.borrow = nil
				s.settle(o)
			}
		}
		clear(ids)
	}
	if len(ids) == 0 {
		delete(s.estate.inherited, node)
	}
}

func freedEarly(id spec.ObjectID, how string) *spec.ErrorInfo {
	return &spec.ErrorInfo{Type: "ReferenceCountingAssertionError", Message: "object " + id.String() + " was " + how + "; please report this",
		Fields: map[string]any{"object_id": id.String()}}
}
