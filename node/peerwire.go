package node

import (
	"encoding/binary"
	"encoding/json"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// Frames between nodes. They travel on the sender's own session, one way, so
// that what one node says to another stays in order.
const (
	pJob      wire.Type = 0x70 // JSON of jobInfo, before the job's first task
	pTask     wire.Type = 0x71 // a task, actor creation or actor call to run
	pResult   wire.Type = 0x72 // the end of an attempt
	pItem     wire.Type = 0x73 // an item of a stream
	pRef      wire.Type = 0x74 // aux: one of the ref… operations
	pValue    wire.Type = 0x75 // the value of an object, from its owner
	pStop     wire.Type = 0x76 // aux 0: stop an attempt
	pConsumed wire.Type = 0x77
	pTaken    wire.Type = 0x78 // the references of a result have arrived (task, attempt)
	pEstate   wire.Type = 0x7a // aux: one of the estate… operations
	pCollect  wire.Type = 0x7b // collect garbage
)

// Operations of pStop.
const (
	pHalt     = 0 // of an attempt that runs there
	pCancel   = 1 // of a task that is owned there
	pChildren = 2 // of the children of a task that runs there
)

// Operations of pRef: an object id, and for some a node id.
const (
	refBorrow = iota
	refAck
	refUnborrow
	refAsk
	refFree
	refLocLost
	refReceived // the references inside a value have arrived
	refUnknown  // the owner does not know the object
	refTake     // to the owner: take the primary copy that this node holds
	refConfirm  // to an heir: all that is borrowed of what the node id left has been named
	refHeld     // to an heir: is the copy that is held here still needed
	refKeep     // to a borrower: the copy you may have is the last one, keep it
	refKept     // to the owner: it is kept; refLocLost: there is none
)

var le = binary.LittleEndian

func appendRef(b []byte, op uint16, id spec.ObjectID, node spec.NodeID) []byte {
	b, at := wire.Begin(b, pRef, 0, op)
	return wire.End(append(append(b, id[:]...), node[:]...), at)
}

func appendStop(b []byte, op uint16, id spec.TaskID, attempt int, force, recursive bool) []byte {
	b, at := wire.Begin(b, pStop, 0, op)
	b = append(b, id[:]...)
	b = le.AppendUint32(b, uint32(attempt))
	return wire.End(append(b, bit(force), bit(recursive)), at)
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// remoteValue encodes a value for another node: inline, or its size and where it is.
func appendRemoteValue(b []byte, v *owner.Value, self spec.NodeID) []byte {
	b = append(b, bit(v.Where == owner.Inline), bit(v.Err))
	b = le.AppendUint16(b, uint16(len(v.Refs)))
	b = wire.AppendRefs(b, v.Refs)
	if v.Where == owner.Inline {
		b = le.AppendUint32(b, uint32(len(v.Blob)))
		return append(b, v.Blob...)
	}
	nodes := v.Nodes
	if v.Where == owner.Arena {
		nodes = append([]spec.NodeID{self}, nodes...)
	}
	b = le.AppendUint64(b, v.Size)
	b = le.AppendUint16(b, uint16(len(nodes)))
	for _, n := range nodes {
		b = append(b, n[:]...)
	}
	return b
}

// reader cuts a body into fields; ok turns false at the first that is missing.
type reader struct {
	b  []byte
	ok bool
}

func (r *reader) take(n int) []byte {
	if !r.ok || n < 0 || n > len(r.b) {
		r.ok = false
		return make([]byte, max(0, min(n, 64)))
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() byte    { return r.take(1)[0] }
func (r *reader) u16() int    { return int(le.Uint16(r.take(2))) }
func (r *reader) u32() uint32 { return le.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return le.Uint64(r.take(8)) }
func (r *reader) refs(n int) (out []spec.Ref) {
	for range n {
		if !r.ok {
			return nil
		}
		p := r.take(wire.RefSize)
		if !r.ok {
			return nil
		}
		out = append(out, spec.Ref{ID: spec.ObjectID(p[:spec.ObjectIDSize]), Owner: spec.NodeID(p[spec.ObjectIDSize:])})
	}
	return out
}

func (r *reader) value() (v owner.Value) {
	inline, isErr := r.u8(), r.u8()
	v.Err = isErr != 0
	v.Refs = r.refs(r.u16())
	if inline != 0 {
		v.Where = owner.Inline
		v.Blob = append([]byte{}, r.bytes(int(r.u32()))...)
		return v
	}
	v.Where, v.Size = owner.Remote, r.u64()
	for range r.u16() {
		p := r.take(spec.NodeIDSize)
		if !r.ok {
			break
		}
		v.Nodes = append(v.Nodes, spec.NodeID(p))
	}
	return v
}

func (r *reader) bytes(n int) []byte {
	if !r.ok || n < 0 || n > len(r.b) {
		r.ok = false
		return nil
	}
	return r.take(n)
}

func (r *reader) task() (id spec.TaskID) {
	if p := r.take(spec.TaskIDSize); r.ok {
		id = spec.TaskID(p)
	}
	return id
}

func (r *reader) object() (id spec.ObjectID) {
	if p := r.take(spec.ObjectIDSize); r.ok {
		id = spec.ObjectID(p)
	}
	return id
}

// Flags of a task for another node.
const (
	taskArgsIn  = 1 // dependency 0 holds the arguments
	taskGranted = 2 // the head was asked for this one's place
	taskRoom    = 4 // an actor's creation that begins at once or is refused
)

// appendTask encodes an attempt for the node that shall run it. values are
// those of the dependencies, as far as they are known.
func appendTask(b []byte, s *owner.Spec, flags uint8, attempt, inc int, caller uint64, values []owner.Value, self spec.NodeID) []byte {
	b, at := wire.Begin(b, pTask, 0, 0)
	b = append(b, s.Kind, bit(s.ArgsIn)*taskArgsIn|flags)
	b = le.AppendUint32(b, s.Tmpl.Num)
	b = le.AppendUint32(b, uint32(s.NReturns))
	b = le.AppendUint32(b, uint32(attempt))
	b = le.AppendUint32(b, uint32(inc))
	b = le.AppendUint64(b, caller)
	b = append(append(b, s.ID[:]...), s.Parent[:]...)
	b = le.AppendUint16(b, uint16(len(s.Deps)))
	b = le.AppendUint16(b, uint16(len(s.Refs)))
	b = wire.AppendRefs(wire.AppendRefs(b, s.Deps), s.Refs)
	for i := range values {
		b = appendRemoteValue(b, &values[i], self)
	}
	b = le.AppendUint32(b, uint32(len(s.Payload)))
	return wire.End(append(b, s.Payload...), at)
}

// appendResult encodes the end of an attempt.
func appendResult(b []byte, id spec.TaskID, attempt int, o *outcome, started bool, inc int, self spec.NodeID) []byte {
	b, at := wire.Begin(b, pResult, 0, 0)
	b = append(b, id[:]...)
	b = le.AppendUint32(b, uint32(attempt))
	b = append(b, o.status, bit(o.lost != nil), bit(o.charge), bit(started))
	b = le.AppendUint32(b, uint32(inc))
	b = le.AppendUint32(b, o.items)
	var text []byte
	if o.lost != nil {
		text, _ = json.Marshal(o.lost) // plain values
	}
	b = le.AppendUint32(b, uint32(len(text)))
	b = append(b, text...)
	b = le.AppendUint16(b, uint16(len(o.results)))
	for i := range o.results {
		b = le.AppendUint32(b, o.results[i].Index)
		b = appendRemoteValue(b, &o.results[i].Value, self)
	}
	return wire.End(b, at)
}
