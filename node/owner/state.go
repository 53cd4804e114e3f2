package owner

import (
	"maps"

	"ray/internal/spec"
	"ray/internal/wire"
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
	ends    map[spec.NodeID]string // how dead nodes ended, for people
	callSeq uint64
	// NoRemake: lost objects are errors at once, no task runs again for them.
	NoRemake bool
	// MaxLineage bounds the bytes of tasks that are kept to be run again; 0: no bound.
	MaxLineage uint64
	lineage    lineage
	estate     estate
	effects    []Effect
	spare      []Effect
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
		ends:    map[spec.NodeID]string{},
		estate: estate{heirs: map[spec.NodeID]spec.NodeID{}, told: map[spec.NodeID]bool{},
			inherited: map[spec.NodeID]map[spec.ObjectID][]spec.NodeID{}},
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

// ClientGone releases all that a client held and forgets its requests. Its
// tasks that were children of a task that it has left unfinished, and whose
// results nobody else refers to, are cancelled, and actors of which nothing but
// such calls is left are abandoned. It returns the unfinished
// streams that only c could read: what makes them must not wait for a reader.
func (s *State) ClientGone(c Client, unfinished func(spec.TaskID) bool) (unread []spec.TaskID) {
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
		if t.Kind != KindCreate && unfinished != nil && unfinished(t.Parent) && !s.wanted(t) {
			stop = append(stop, t)
		} else if t.Tmpl.Streaming {
			unread = append(unread, t.ID)
		}
	}
	for _, t := range stop {
		if t.Kind == KindCall && s.abandoned(t.actor) {
			s.emit(Effect{Kind: EffAbandoned, Actor: t.actor})
		}
		s.Cancel(t, false)
	}
	return unread
}

// abandoned tells whether nothing refers to an actor that was created here but
// calls of clients that are gone, whose results nobody wants: some of them may
// run for ever, as a call in a thread cannot be interrupted.
func (s *State) abandoned(a *Actor) bool {
	if a == nil || a.Creation == nil || a.detached() {
		return false
	}
	o := s.objects[spec.ActorCreationTaskID(a.ID).Return(1)]
	if o == nil || o.firstN > 0 || len(o.more) > 0 || len(o.borrow) > 0 {
		return false
	}
	left := o.pins
	for _, t := range s.tasks {
		if t.Kind == KindCall && t.actor == a && t.Client == 0 && !s.wanted(t) {
			left--
		}
	}
	return left == 0
}

// MadeBy lists the actors that c has made here and that must not outlive it:
// not the detached ones, nor those that are known to be dead.
func (s *State) MadeBy(c Client) []spec.ActorID {
	var ids []spec.ActorID
	for id, a := range s.actors {
		if t := a.Creation; t != nil && t.Client == c && c != 0 && !a.detached() && a.State != spec.ActorDead {
			ids = append(ids, id)
		}
	}
	return ids
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

func (s *State) fail(o *Object, e *spec.ErrorInfo) {
	s.setValue(o, errorValue(e))
}

func errorValue(e *spec.ErrorInfo) Value {
	return Value{Where: Inline, Err: true, Blob: wire.ErrorBlob(e)}
}

// end says for people how a node ended.
func (s *State) end(n spec.NodeID) string {
	if text := s.ends[n]; text != "" {
		return text
	}
	return "is dead"
}

func (s *State) ownerDied(id spec.ObjectID, owner spec.NodeID) *spec.ErrorInfo {
	return &spec.ErrorInfo{Type: "OwnerDiedError",
		Message: "object " + id.String() + " is lost: node " + owner.String() + ", which owned it, " + s.end(owner) + ". An object lives as long as the node of the process that made its reference",
		Fields:  map[string]any{"object_id": id.String()}}
}

// Size is how many objects and tasks there are.
func (s *State) Size() int { return len(s.objects) + len(s.tasks) }

// Shrink makes the tables as small as what is in them: maps only grow.
func (s *State) Shrink() {
	s.objects, s.tasks = Shrunk(s.objects), Shrunk(s.tasks)
}

// Shrunk is a copy of m that is no larger than it must be.
func Shrunk[K comparable, V any](m map[K]V) map[K]V {
	small := make(map[K]V, len(m))
	maps.Copy(small, m)
	return small
}
