package owner

import "ray/internal/spec"

// EffectKind says what the daemon has to do.
type EffectKind uint8

const (
	// EffRun: Task has all dependencies; schedule it.
	EffRun EffectKind = iota
	// EffPush: Task ended; tell Client.
	EffPush
	// EffItem: item Index of the stream Task is in Object; tell Client.
	EffItem
	// EffObj answers a GET of Client with Object, which is here.
	EffObj
	// EffReady answers a WAIT.
	EffReady
	// EffHere: Object, which Bring asked for, is here.
	EffHere
	// EffPull: bring Object here from its Locs; answer with Pulled or PullFailed.
	EffPull
	// EffAsk: ask Node, the owner, for the value of Object.
	EffAsk
	// EffTell: Node asked for Object; send its value.
	EffTell
	// EffBorrow and EffUnborrow tell Node, the owner, about ID.
	EffBorrow
	EffUnborrow
	// EffFree: the arena's copy of ID is not needed any more.
	EffFree
	// EffFreeRemote: Node need not hold its primary copy of ID any more.
	EffFreeRemote
	// EffAdopted: every reference of Adoption is known to its owner.
	EffAdopted
	// EffCreate: announce the actor of the creation Task to the head.
	EffCreate
	// EffCreateFailed: tell the head that the constructor of Task cannot run,
	// for the error that Token, a []byte, holds.
	EffCreateFailed
	// EffStart: send the creation Task to Node as incarnation Index; with the
	// Token true it begins there at once or not at all.
	EffStart
	// EffWatch: watch the actor Actor at the head.
	EffWatch
	// EffCall: send the actor call Task to Node, incarnation Index.
	EffCall
	// EffUnreferenced: the last handle of Actor is gone.
	EffUnreferenced
	// EffAbandoned: of Actor nothing is left but calls whose caller has died.
	EffAbandoned
	// EffFailed: Task has failed for Token, an *spec.ErrorInfo, and nobody else tells of it.
	EffFailed
	// EffStop: take Task back from where it runs (Force: kill its worker).
	EffStop
	// EffLocLost: tell Node, the owner, that Loc has no copy of ID.
	EffLocLost
	// EffKeep: ask Node, which may be this one, to keep the copy of ID that it may
	// have as the primary one; it answers with Kept or LocationLost.
	EffKeep
	// EffConfirm: tell Node, the heir, that this node has named all that it
	// borrows of what Loc left.
	EffConfirm
	// EffHeld: ask Node, the heir, whether the copy of ID that is held here is
	// still needed.
	EffHeld
)

// Effect is one thing to do. Which fields count depends on Kind.
type Effect struct {
	Kind     EffectKind
	Force    bool
	NoPin    bool
	Client   Client
	Request  uint32
	Index    uint32
	Node     spec.NodeID
	Loc      spec.NodeID
	ID       spec.ObjectID
	Task     *Task
	Object   *Object
	Actor    *Actor
	Adoption *Adoption
	Token    any
}

// Effects takes what has been appended since the last call. The slice is valid
// until the next call.
func (s *State) Effects() []Effect {
	out := s.effects
	s.effects, s.spare = s.spare[:0], out
	return out
}

func (s *State) emit(e Effect) { s.effects = append(s.effects, e) }
