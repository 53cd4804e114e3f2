package owner

import (
	"ray/internal/spec"
)

// ref finds the entry of r, or makes a borrowed one and tells its owner.
func (s *State) ref(r spec.Ref) *Object {
	if o := s.objects[r.ID]; o != nil {
		if !o.Owned() && !o.borrowed && !s.dead[o.Owner] {
			o.borrowed = true
			s.emit(Effect{Kind: EffBorrow, Node: o.Owner, ID: o.ID})
		}
		return o
	}
	o := &Object{ID: r.ID}
	s.objects[r.ID] = o
	at := s.ownerOf(r.Owner)
	switch {
	case at == s.self && r.Owner != s.self:
		s.fail(o, s.ownerDied(r.ID, r.Owner)) // it was made after this node became the heir
		return o
	case at == s.self || at.IsZero():
		s.fail(o, freedEarly(r.ID, "freed while a reference to it was still in use"))
		return o
	}
	o.Owner = at
	if s.dead[at] {
		s.fail(o, s.ownerDied(r.ID, at))
		return o
	}
	o.borrowed = true
	s.emit(Effect{Kind: EffBorrow, Node: at, ID: r.ID})
	return o
}

func (s *State) pin(r spec.Ref) *Object {
	o := s.ref(r)
	o.pins++
	return o
}

func (s *State) unpin(r spec.Ref) {
	o := s.objects[r.ID]
	if o == nil || o.pins == 0 {
		return
	}
	o.pins--
	s.settle(o)
}

// Pin keeps an object for the daemon's own reasons (transit, arguments of a
// task that runs here) until Unpin.
func (s *State) Pin(r spec.Ref) *Object { return s.pin(r) }

// Unpin undoes Pin.
func (s *State) Unpin(r spec.Ref) { s.unpin(r) }

// Deliver counts n deliveries of r to a local client.
func (s *State) Deliver(c Client, r spec.Ref, n uint32) *Object {
	o := s.ref(r)
	s.deliver(o, c, n)
	return o
}

func (s *State) deliver(o *Object, c Client, n uint32) {
	if c == 0 {
		return
	}
	if o.first == c {
		o.firstN += n
		return
	}
	if had, ok := o.more[c]; ok {
		o.more[c] = had + n
		return
	}
	s.held[c]++
	if o.first == 0 {
		o.first, o.firstN = c, n
		return
	}
	if o.more == nil {
		o.more = map[Client]uint32{}
	}
	o.more[c] = n
}

// Release takes n deliveries back from a client.
func (s *State) Release(c Client, id spec.ObjectID, n uint32) {
	o := s.objects[id]
	if o == nil || c == 0 {
		return
	}
	if o.first == c {
		o.firstN -= min(n, o.firstN)
		if o.firstN == 0 {
			o.first = 0
			s.unheld(c)
		}
	} else if had, ok := o.more[c]; ok {
		if had <= n {
			delete(o.more, c)
			s.unheld(c)
		} else {
			o.more[c] = had - n
		}
	}
	s.settle(o)
}

func (s *State) unheld(c Client) {
	if s.held[c]--; s.held[c] <= 0 {
		delete(s.held, c)
	}
}

func (o *Object) referenced() bool {
	return o.firstN > 0 || o.pins > 0 || len(o.more) > 0 || len(o.borrow) > 0
}

// settle frees what nothing refers to.
func (s *State) settle(o *Object) {
	if o.referenced() {
		return
	}
	if o.task != nil && o.task.State != TaskDone && (o.Where == Pending || !isItem(o.task, o)) {
		s.unreferenced(o)
		return
	}
	s.unreferenced(o)
	if o.hold {
		if o.lineage == 0 {
			s.unborrow(o)
		}
		return
	}
	if o.lineage > 0 && s.irreplaceable(o) {
		return
	}
	nested := o.Nested
	o.Nested = nil
	s.freeCopies(o)
	if o.lineage == 0 {
		s.forget(o) // with its value: an answer with it may be on its way
	} else {
		o.Blob = nil
		if o.Where != Pending {
			s.markLost(o)
		}
	}
	for _, r := range nested {
		s.unpin(r)
	}
}

// unreferenced tells the actor table when the last handle is gone.
func (s *State) unreferenced(o *Object) {
	if o.task == nil || o.task.Kind != KindCreate || !o.Owned() {
		return
	}
	if a := o.task.actor; a != nil && !a.told && !a.detached() {
		a.told = true
		s.emit(Effect{Kind: EffUnreferenced, Actor: a})
	}
}

func (s *State) freeCopies(o *Object) {
	if o.Where == Arena {
		s.emit(Effect{Kind: EffFree, ID: o.ID})
	}
	if o.Owned() {
		for _, n := range o.Locs {
			s.emit(Effect{Kind: EffFreeRemote, Node: n, ID: o.ID})
		}
	}
	o.Locs = nil
}

func (s *State) forget(o *Object) {
	delete(s.objects, o.ID)
	if !o.Owned() {
		s.unborrow(o)
		return
	}
	t := o.task
	o.task = nil
	switch {
	case t == nil:
	case t.kept:
		// One that is being run again is dropped when that is over.
		if t.live--; t.live <= 0 && t.State == TaskDone {
			s.dropLineage(t)
		}
	case isItem(t, o):
		t.large--
	}
}

func (s *State) unborrow(o *Object) {
	if o.borrowed && !s.dead[o.Owner] {
		s.emit(Effect{Kind: EffUnborrow, Node: o.Owner, ID: o.ID})
	}
	o.borrowed, o.acked = false, false
	s.dropAdoptions(o)
}
