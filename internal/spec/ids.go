package spec

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Sizes of the binary ids in bytes. They are upstream's, because users see
// them: `ObjectRef.hex()` has 56 digits, an actor id 32.
const (
	JobIDSize            = 4
	ActorIDSize          = 16
	TaskIDSize           = 24
	ObjectIDSize         = 28
	NodeIDSize           = 28
	WorkerIDSize         = 28
	FunctionIDSize       = 28
	PlacementGroupIDSize = 18
)

type (
	// JobID names one driver's run; a counter, little-endian.
	JobID [JobIDSize]byte
	// ActorID is 12 unique bytes followed by the job id.
	ActorID [ActorIDSize]byte
	// TaskID is 8 unique bytes (process number, counter) followed by the
	// actor id, whose unique part is all ones for a task that is no actor call.
	TaskID [TaskIDSize]byte
	// ObjectID is the id of the task that makes the object, followed by a
	// 4-byte little-endian index: returns count from 1.
	ObjectID [ObjectIDSize]byte
	// NodeID is random, made anew each time a node daemon joins a cluster.
	NodeID [NodeIDSize]byte
	// WorkerID is random; one worker process.
	WorkerID [WorkerIDSize]byte
	// FunctionID is the SHA-224 of the pickled function or class.
	FunctionID [FunctionIDSize]byte
	// PlacementGroupID is 14 unique bytes followed by the job id.
	PlacementGroupID [PlacementGroupIDSize]byte
)

func marshalHex(b []byte) ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

func unmarshalHex(dst, text []byte, what string) error {
	if len(text) == 0 {
		clear(dst)
		return nil
	}
	if hex.DecodedLen(len(text)) != len(dst) {
		return fmt.Errorf("%s: want %d hex digits, got %d", what, 2*len(dst), len(text))
	}
	if _, err := hex.Decode(dst, text); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (id JobID) String() string                          { return hex.EncodeToString(id[:]) }
func (id JobID) MarshalText() ([]byte, error)            { return marshalHex(id[:]) }
func (id *JobID) UnmarshalText(t []byte) error           { return unmarshalHex(id[:], t, "job id") }
func (id JobID) IsZero() bool                            { return id == JobID{} }
func (id ActorID) String() string                        { return hex.EncodeToString(id[:]) }
func (id ActorID) MarshalText() ([]byte, error)          { return marshalHex(id[:]) }
func (id *ActorID) UnmarshalText(t []byte) error         { return unmarshalHex(id[:], t, "actor id") }
func (id ActorID) IsZero() bool                          { return id == ActorID{} }
func (id TaskID) String() string                         { return hex.EncodeToString(id[:]) }
func (id TaskID) MarshalText() ([]byte, error)           { return marshalHex(id[:]) }
func (id *TaskID) UnmarshalText(t []byte) error          { return unmarshalHex(id[:], t, "task id") }
func (id TaskID) IsZero() bool                           { return id == TaskID{} }
func (id ObjectID) String() string                       { return hex.EncodeToString(id[:]) }
func (id ObjectID) MarshalText() ([]byte, error)         { return marshalHex(id[:]) }
func (id *ObjectID) UnmarshalText(t []byte) error        { return unmarshalHex(id[:], t, "object id") }
func (id ObjectID) IsZero() bool                         { return id == ObjectID{} }
func (id NodeID) String() string                         { return hex.EncodeToString(id[:]) }
func (id NodeID) MarshalText() ([]byte, error)           { return marshalHex(id[:]) }
func (id *NodeID) UnmarshalText(t []byte) error          { return unmarshalHex(id[:], t, "node id") }
func (id NodeID) IsZero() bool                           { return id == NodeID{} }
func (id WorkerID) String() string                       { return hex.EncodeToString(id[:]) }
func (id WorkerID) MarshalText() ([]byte, error)         { return marshalHex(id[:]) }
func (id *WorkerID) UnmarshalText(t []byte) error        { return unmarshalHex(id[:], t, "worker id") }
func (id WorkerID) IsZero() bool                         { return id == WorkerID{} }
func (id FunctionID) String() string                     { return hex.EncodeToString(id[:]) }
func (id FunctionID) MarshalText() ([]byte, error)       { return marshalHex(id[:]) }
func (id *FunctionID) UnmarshalText(t []byte) error      { return unmarshalHex(id[:], t, "function id") }
func (id FunctionID) IsZero() bool                       { return id == FunctionID{} }
func (id PlacementGroupID) String() string               { return hex.EncodeToString(id[:]) }
func (id PlacementGroupID) MarshalText() ([]byte, error) { return marshalHex(id[:]) }
func (id *PlacementGroupID) UnmarshalText(t []byte) error {
	return unmarshalHex(id[:], t, "placement group id")
}
func (id PlacementGroupID) IsZero() bool { return id == PlacementGroupID{} }

// JobIDFromInt gives the id of job number n (n counts from 1).
func JobIDFromInt(n uint32) JobID {
	var id JobID
	binary.LittleEndian.PutUint32(id[:], n)
	return id
}

// Int is the job's number.
func (id JobID) Int() uint32 { return binary.LittleEndian.Uint32(id[:]) }

// JobID is the job that the actor belongs to.
func (id ActorID) JobID() JobID { return JobID(id[ActorIDSize-JobIDSize:]) }

// ActorID is the actor part of the task id; see IsActorTask.
func (id TaskID) ActorID() ActorID { return ActorID(id[TaskIDSize-ActorIDSize:]) }

// JobID is the job that the task belongs to.
func (id TaskID) JobID() JobID { return JobID(id[TaskIDSize-JobIDSize:]) }

// IsActorTask tells whether the actor part names an actor, as it does for
// calls of actor methods and for the creation of an actor.
func (id TaskID) IsActorTask() bool {
	for _, b := range id[TaskIDSize-ActorIDSize : TaskIDSize-JobIDSize] {
		if b != 0xff {
			return true
		}
	}
	return false
}

// IsPut tells whether the id stands for what a process has put: it is no task
// that ran, and its counter is 0.
func (id TaskID) IsPut() bool {
	return !id.IsActorTask() && binary.LittleEndian.Uint32(id[4:]) == 0
}

// ActorCreationTaskID is the task that runs the actor's constructor: eight
// 0xff bytes and the actor id.
func ActorCreationTaskID(actor ActorID) TaskID {
	var id TaskID
	for i := range TaskIDSize - ActorIDSize {
		id[i] = 0xff
	}
	copy(id[TaskIDSize-ActorIDSize:], actor[:])
	return id
}

// DriverTaskID is what the tasks that a job's driver submits name as their parent.
func DriverTaskID(job JobID) (id TaskID) {
	for i := range TaskIDSize - JobIDSize {
		id[i] = 0xff
	}
	copy(id[TaskIDSize-JobIDSize:], job[:])
	return id
}

// Return is the id of the task's n-th return value; n counts from 1.
func (id TaskID) Return(n uint32) ObjectID {
	var o ObjectID
	copy(o[:], id[:])
	binary.LittleEndian.PutUint32(o[TaskIDSize:], n)
	return o
}

// TaskID is the task that makes the object.
func (id ObjectID) TaskID() TaskID { return TaskID(id[:TaskIDSize]) }

// Index is the object's number among those of its task, from 1.
func (id ObjectID) Index() uint32 { return binary.LittleEndian.Uint32(id[TaskIDSize:]) }

// JobID is the job that the object belongs to.
func (id ObjectID) JobID() JobID { return JobID(id[TaskIDSize-JobIDSize : TaskIDSize]) }

// NewNodeID makes a random node id.
func NewNodeID() (id NodeID) { _, _ = rand.Read(id[:]); return id }

// NewWorkerID makes a random worker id.
func NewWorkerID() (id WorkerID) { _, _ = rand.Read(id[:]); return id }

// Ref is a reference as it travels: the object and the node that owns it.
type Ref struct {
	ID    ObjectID `json:"id"`
	Owner NodeID   `json:"owner"`
}
