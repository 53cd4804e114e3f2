package owner

import (
	"slices"

	"ray/internal/spec"
)

// Put makes an object that a local client has put, with one delivery to it.
func (s *State) Put(c Client, id spec.ObjectID, v Value) *Object {
	o := s.objects[id]
	if o == nil {
		o = &Object{ID: id}
		s.objects[id] = o
	}
	s.deliver(o, c, 1)
	if !o.Known() {
		s.setValue(o, v)
	}
	return o
}

// setValue fills an entry and answers those who wait for it.
func (s *State) setValue(o *Object, v Value) {
	o.Where, o.Err, o.Blob, o.Off, o.Size = v.Where, v.Err, v.Blob, v.Off, v.Size
	if v.Where == Inline {
		o.Size = uint64(len(v.Blob))
	}
	o.Locs = v.Nodes
	o.Primary = v.Where == Arena
	o.asked, o.sought = false, false
	if len(v.Refs) > 0 && o.Nested == nil {
		o.Nested = v.Refs
		for _, r := range v.Refs {
			s.pin(r)
		}
	}
	s.wake(o)
}

// wake answers the waiters that the object's present place can answer.
func (s *State) wake(o *Object) {
	if len(o.waiters) == 0 {
		return
	}
	if left := o.serve(func(w waiter) bool { return s.answer(o, w) }); left > 0 {
		s.want(o)
	}
}

// serve takes the waiters for whom answered is true, and those whose request is
// dead, off the list. It gives the number of those that are left.
func (o *Object) serve(answered func(waiter) bool) int {
	ws := o.waiters
	o.waiters = nil
	var left []waiter
	for _, w := range ws {
		if w.req != nil && w.req.dead {
			continue
		}
		if !answered(w) {
			left = append(left, w)
		}
	}
	// answered may have added waiters (a task that is retried at once).
	o.waiters = append(left, o.waiters...)
	return len(left)
}

// answer gives a waiter its answer if the object is where it must be.
func (s *State) answer(o *Object, w waiter) bool {
	if !o.Known() {
		return false
	}
	switch w.kind {
	case waitGet:
		if !o.Here() {
			return false
		}
		s.emit(Effect{Kind: EffObj, Client: w.req.Client, Request: w.req.ID, Index: w.index, NoPin: w.req.NoPin, Object: o, ID: o.ID})
		s.countDown(w.req)
	case waitWait:
		if w.req.Fetch && !o.Here() {
			return false
		}
		s.emit(Effect{Kind: EffReady, Client: w.req.Client, Request: w.req.ID, Index: w.index})
		s.countDown(w.req)
	case waitTask:
		s.depReady(w.task, o)
	case waitHere:
		if !o.Here() {
			return false
		}
		s.emit(Effect{Kind: EffHere, Object: o, ID: o.ID, Token: w.token})
	case waitNode:
		s.emit(Effect{Kind: EffTell, Node: w.node, Object: o, ID: o.ID})
	}
	return true
}

func (s *State) countDown(r *Request) {
	if r.left--; r.left == 0 {
		r.dead = true
		if k := (reqKey{r.Client, r.ID}); s.reqs[k] == r {
			delete(s.reqs, k)
		}
	}
}

// want starts whatever brings the object's value to those who wait for it:
// the question to its owner, the transfer, or making it again.
func (s *State) want(o *Object) {
	switch o.Where {
	case Pending:
		if !o.Owned() && !o.asked {
			o.asked = true
			s.emit(Effect{Kind: EffAsk, Node: o.Owner, Object: o, ID: o.ID})
		}
	case Remote:
		if !o.pulling && slices.ContainsFunc(o.waiters, waiter.wantsCopy) {
			o.pulling = true
			s.emit(Effect{Kind: EffPull, Object: o, ID: o.ID})
		}
	case Lost:
		s.remake(o)
	}
}

// Bring brings an object's value to this node's memory and then emits EffHere
// with token. False: it is here already and nothing is emitted.
func (s *State) Bring(r spec.Ref, token any) bool {
	o := s.ref(r)
	if o.Here() {
		return false
	}
	s.wait(o, waiter{kind: waitHere, token: token})
	return true
}

func (s *State) wait(o *Object, w waiter) {
	if s.answer(o, w) {
		return
	}
	if len(o.waiters) >= 8 {
		o.waiters = slices.DeleteFunc(o.waiters, func(w waiter) bool { return w.req != nil && w.req.dead })
	}
	o.waiters = append(o.waiters, w)
	s.want(o)
}

// Get serves a GET: each object is answered by EffObj once it is here.
func (s *State) Get(c Client, id uint32, refs []spec.Ref, noPin bool) {
	s.request(&Request{Client: c, ID: id, Fetch: true, NoPin: noPin, left: len(refs)}, waitGet, refs)
}

// Wait serves a WAIT: each object is answered by EffReady once it exists, or
// with fetch once it is here.
func (s *State) Wait(c Client, id uint32, refs []spec.Ref, fetch bool) {
	s.request(&Request{Client: c, ID: id, Fetch: fetch, left: len(refs)}, waitWait, refs)
}

func (s *State) request(r *Request, kind waitKind, refs []spec.Ref) {
	s.reqs[reqKey{r.Client, r.ID}] = r
	for i, ref := range refs {
		known := s.objects[ref.ID] != nil
		o := s.ref(ref)
		s.wait(o, waiter{kind: kind, req: r, index: uint32(i)})
		if !known && len(o.waiters) == 0 {
			s.forget(o) // answered with an error at once, and nobody holds it
		}
	}
}

// GetAgain serves one object of a GET once more: the answer that was given
// named a copy that turned out to be unreadable.
func (s *State) GetAgain(c Client, id, index uint32, ref spec.Ref, noPin bool) {
	r := &Request{Client: c, ID: id, Fetch: true, NoPin: noPin, left: 1}
	s.wait(s.ref(ref), waiter{kind: waitGet, req: r, index: index})
}

// Forget ends a request that its client waits for no longer.
func (s *State) Forget(c Client, id uint32) {
	k := reqKey{c, id}
	if r := s.reqs[k]; r != nil {
		r.dead = true
		delete(s.reqs, k)
	}
}

// Pulled tells that a copy is now in the arena.
func (s *State) Pulled(id spec.ObjectID, off, size uint64) bool {
	o := s.objects[id]
	if o == nil || !o.pulling {
		return false
	}
	o.pulling = false
	if o.Where != Remote {
		return false
	}
	o.Where, o.Off, o.Size = Arena, off, size
	s.wake(o)
	return true
}

// PullRefused tells that this node cannot take the object now, and why (the
// blob of an error). Those who wait for it here are told; the object itself is
// as it was: others can have it, and so can this node later.
func (s *State) PullRefused(id spec.ObjectID, why []byte) {
	o := s.objects[id]
	if o == nil || !o.pulling {
		return
	}
	o.pulling = false
	told := &Object{ID: o.ID, Owner: o.Owner, Where: Inline, Err: true, Blob: why, Size: uint64(len(why))}
	left := o.serve(func(w waiter) bool {
		if !w.wantsCopy() {
			return false
		}
		s.answer(told, w)
		return true
	})
	if len(o.waiters) > left { // answering may have added some
		s.want(o)
	}
}

// PullFailed tells that none of from has the object any more.
func (s *State) PullFailed(id spec.ObjectID, from []spec.NodeID) {
	o := s.objects[id]
	if o == nil {
		return
	}
	o.pulling = false
	if o.Where != Remote {
		return
	}
	o.Locs = slices.DeleteFunc(o.Locs, func(n spec.NodeID) bool { return slices.Contains(from, n) })
	if !o.Owned() {
		for _, n := range from {
			s.emit(Effect{Kind: EffLocLost, Node: o.Owner, Loc: n, ID: o.ID})
		}
	}
	if len(o.Locs) == 0 {
		if len(from) > 0 && !o.sought {
			o.lostOn, o.lostWhy = from[len(from)-1], "it has no readable copy any more"
		}
		s.lose(o)
	} else {
		s.want(o)
	}
}

// CopyLost tells that this node's copy, primary or not, cannot be read, and why.
func (s *State) CopyLost(id spec.ObjectID, why string) {
	o := s.objects[id]
	if o == nil || o.Where != Arena {
		return
	}
	o.Primary = false
	if o.hold {
		o.hold = false
		s.emit(Effect{Kind: EffLocLost, Node: o.Owner, Loc: s.self, ID: id})
	}
	o.lostOn, o.lostWhy = s.self, why
	s.Evicted(id)
	s.settle(o)
}

// Evicted tells that a secondary copy left the arena.
func (s *State) Evicted(id spec.ObjectID) {
	o := s.objects[id]
	if o == nil || o.Where != Arena {
		return
	}
	if len(o.Locs) > 0 {
		o.Where = Remote
		return
	}
	s.lose(o)
}

// Free drops the value of an object owned here at a user's wish: from now on
// it is an error.
func (s *State) Free(id spec.ObjectID) {
	o := s.objects[id]
	if o == nil || !o.Owned() || !o.Known() {
		return
	}
	nested := o.Nested
	o.Nested = nil
	s.freeCopies(o)
	s.fail(o, &spec.ErrorInfo{Type: "ObjectFreedError", Message: "object " + id.String() + " was freed by ray.internal.free",
		Fields: map[string]any{"object_id": id.String()}})
	o.freed = true
	for _, r := range nested {
		s.unpin(r)
	}
}
