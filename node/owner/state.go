package owner

import (
	"encoding/json"

	"ray/internal/spec"
)

// State is everything that one node owns or borrows. Not safe for concurrent
// use: the daemon's lock guards it.
type State struct {
	self    spec.NodeID
	objects map[spec.ObjectID]*Object
	tasks   map[spec.TaskID]*Task
	actors  map[spec.ActorID]*Actor
	held    map[Client]int // objects that a client holds
	reqs    map[reqKey]*Request
	dead    map[spec.NodeID]bool
	callSeq uint64
	effects []Effect
	spare   []Effect
}

type reqKey struct {
	client Client
	id     uint32
}

// New makes an empty state for the node self.
func New(self spec.NodeID) *State {
	return &State{
		self:    self,
		objects: map[spec.ObjectID]*Object{},
		tasks:   map[spec.TaskID]*Task{},
		actors:  map[spec.ActorID]*Actor{},
		held:    map[Client]int{},
		reqs:    map[reqKey]*Request{},
		dead:    map[spec.NodeID]bool{},
	}
}

// Object finds an entry, or nil.
func (s *State) Object(id spec.ObjectID) *Object { return s.objects[id] }

// Task finds a task that is owned here and not forgotten, or nil.
func (s *State) Task(id spec.TaskID) *Task { return s.tasks[id] }

// Counts are the sizes of the tables.
func (s *State) Counts() (objects, tasks, actors int) {
	return len(s.objects), len(s.tasks), len(s.actors)
}

// Objects calls f for each entry until it returns false.
func (s *State) Objects(f func(*Object) bool) {
	for _, o := range s.objects {
		if !f(o) {
			return
		}
	}
}

// Tasks calls f for each task until it returns false.
func (s *State) Tasks(f func(*Task) bool) {
	for _, t := range s.tasks {
		if !f(t) {
			return
		}
	}
}

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
	if r.Owner == s.self || r.Owner.IsZero() {
		s.fail(o, &spec.ErrorInfo{Type: "ReferenceCountingAssertionError",
			Message: "object " + r.ID.String() + " was freed while a reference to it was still in use; please report this",
			Fields:  map[string]any{"object_id": r.ID.String()}})
		return o
	}
	o.Owner = r.Owner
	if s.dead[r.Owner] {
		s.fail(o, ownerDied(r.ID, r.Owner))
		return o
	}
	o.borrowed = true
	s.emit(Effect{Kind: EffBorrow, Node: r.Owner, ID: r.ID})
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
	if o.task != nil && o.task.State != TaskDone {
		s.unreferenced(o)
		return
	}
	s.unreferenced(o)
	if o.hold {
		s.unborrow(o)
		return
	}
	nested := o.Nested
	if o.lineage > 0 && o.Where == Inline {
		return // small: a task that is run again may need it
	}
	o.Nested = nil
	s.freeCopies(o)
	if o.lineage == 0 {
		s.forget(o)
	} else if o.Where != Pending {
		o.Where = Lost
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
	o.Locs, o.Blob = nil, nil
}

func (s *State) forget(o *Object) {
	delete(s.objects, o.ID)
	if !o.Owned() {
		s.unborrow(o)
		return
	}
	t := o.task
	o.task = nil
	if t != nil && t.kept {
		if t.live--; t.live <= 0 {
			s.dropLineage(t)
		}
	}
}

func (s *State) unborrow(o *Object) {
	if o.borrowed && !s.dead[o.Owner] {
		s.emit(Effect{Kind: EffUnborrow, Node: o.Owner, ID: o.ID})
	}
	o.borrowed, o.acked = false, false
	s.dropAdoptions(o)
}

// dropLineage forgets a kept task: nothing that it made is left.
func (s *State) dropLineage(t *Task) {
	t.kept = false
	delete(s.tasks, t.ID)
	for _, r := range t.Deps {
		s.unlineage(r)
	}
	for _, r := range t.Refs {
		s.unlineage(r)
	}
}

func (s *State) unlineage(r spec.Ref) {
	o := s.objects[r.ID]
	if o == nil || o.lineage == 0 {
		return
	}
	o.lineage--
	s.settle(o)
}

// ClientGone releases all that a client held and forgets its requests. Its
// tasks that were children of the unfinished task parent (zero: none) and
// whose results nobody else refers to are cancelled.
func (s *State) ClientGone(c Client, parent spec.TaskID) {
	for k, r := range s.reqs {
		if k.client == c {
			r.dead = true
			delete(s.reqs, k)
		}
	}
	if s.held[c] > 0 {
		var mine []*Object
		for _, o := range s.objects {
			if o.first == c {
				mine = append(mine, o)
			} else if _, ok := o.more[c]; ok {
				mine = append(mine, o)
			}
		}
		for _, o := range mine {
			s.Release(c, o.ID, 1<<31)
		}
	}
	delete(s.held, c)
	var stop []*Task
	for _, t := range s.tasks {
		if t.Client != c || t.State == TaskDone {
			continue
		}
		t.Client = 0
		if t.Kind != KindCreate && !parent.IsZero() && t.Parent == parent && !s.wanted(t) {
			stop = append(stop, t)
		}
	}
	for _, t := range stop {
		s.Cancel(t, false)
	}
}

// wanted tells whether anyone refers to a result of t.
func (s *State) wanted(t *Task) bool {
	for i := range t.NReturns {
		if o := s.objects[t.ID.Return(uint32(i+1))]; o != nil && o.referenced() {
			return true
		}
	}
	return false
}

// ErrorBlob is the blob of an error that a daemon made.
func ErrorBlob(e *spec.ErrorInfo) []byte {
	text, err := json.Marshal(e)
	if err != nil {
		text = []byte(`{"type":"RaySystemError","message":"error could not be written"}`)
	}
	n := uint32(len(text))
	b := make([]byte, 8, 8+len(text))
	b[0], b[1] = 3, 1
	b[4], b[5], b[6], b[7] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return append(b, text...)
}

func (s *State) fail(o *Object, e *spec.ErrorInfo) {
	s.setValue(o, Value{Where: Inline, Err: true, Blob: ErrorBlob(e)})
}

func ownerDied(id spec.ObjectID, owner spec.NodeID) *spec.ErrorInfo {
	return &spec.ErrorInfo{Type: "OwnerDiedError",
		Message: "object " + id.String() + " is lost: node " + owner.String() + ", which owned it, is dead",
		Fields:  map[string]any{"object_id": id.String()}}
}
