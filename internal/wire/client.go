package wire

import (
	"encoding/binary"

	"ray/internal/spec"
)

// le is short for the byte order of everything on the wire.
var le = binary.LittleEndian

// Kinds of task in SUBMIT and EXEC.
const (
	TaskNormal uint8 = iota
	TaskActorCreate
	TaskActorCall
)

// Flags of SUBMIT and EXEC.
const (
	ArgsInObject uint8 = 1 // dependency 0 is the payload; slots count from 1
	MayRetry     uint8 = 2 // EXEC: may be retried on exceptions
)

// Flags of GET and WAIT.
const (
	MainBlocks uint8 = 1 // the client's main thread blocks in it
	NoPin      uint8 = 2 // GET: only fetch
	FetchLocal uint8 = 4 // WAIT
)

// Statuses of DONE.
const (
	DoneOK        uint8 = 0
	DoneRaised    uint8 = 1
	DoneRetry     uint8 = 2 // raised, and it matches retry_exceptions
	DoneCancelled uint8 = 3
	DoneLast      uint8 = 4 // as OK, and the worker exits now
	DoneActorExit uint8 = 5 // the actor exits on purpose
)

// Template is a TEMPLATE frame: JSON of spec.Template under the sender's number.
type Template struct {
	Number uint32
	JSON   []byte
}

// Append encodes the frame.
func (m *Template) Append(b []byte) []byte {
	b, at := Begin(b, TTemplate, 0, 0)
	return End(append(le.AppendUint32(b, m.Number), m.JSON...), at)
}

// Decode reads a body; slices point into it.
func (m *Template) Decode(body []byte) error {
	if len(body) < 4 {
		return malformed(TTemplate, "too short")
	}
	m.Number, m.JSON = le.Uint32(body), body[4:]
	return nil
}

// Export is an EXPORT frame: a pickled function or class.
type Export struct {
	ID   spec.FunctionID
	Code []byte
}

// Append encodes the frame.
func (m *Export) Append(b []byte) []byte {
	b, at := Begin(b, TExport, 0, 0)
	return End(append(append(b, m.ID[:]...), m.Code...), at)
}

// Decode reads a body; slices point into it.
func (m *Export) Decode(body []byte) error {
	if len(body) < len(m.ID) {
		return malformed(TExport, "too short")
	}
	copy(m.ID[:], body)
	m.Code = body[len(m.ID):]
	return nil
}

// Submit is a SUBMIT frame.
type Submit struct {
	Kind, Flags  uint8
	Template     uint32
	NReturns     uint32
	Task, Parent spec.TaskID
	Deps         []spec.Ref // at most MaxRefs
	Refs         []spec.Ref // nested in the payload; at most MaxRefs
	Payload      []byte
}

const submitSize = 68

// Append encodes the frame.
func (m *Submit) Append(b []byte) []byte {
	b, at := Begin(b, TSubmit, 0, 0)
	b = le.AppendUint16(b, submitSize)
	b = append(b, m.Kind, m.Flags)
	b = le.AppendUint32(b, m.Template)
	b = le.AppendUint32(b, m.NReturns)
	b = le.AppendUint16(b, uint16(len(m.Deps)))
	b = le.AppendUint16(b, uint16(len(m.Refs)))
	b = le.AppendUint32(b, uint32(len(m.Payload)))
	b = append(append(b, m.Task[:]...), m.Parent[:]...)
	b = AppendRefs(AppendRefs(b, m.Deps), m.Refs)
	return End(append(b, m.Payload...), at)
}

// Decode reads a body; slices point into it.
func (m *Submit) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(submitSize)
	if h == nil {
		return malformed(TSubmit, "too short")
	}
	m.Kind, m.Flags = h[2], h[3]
	m.Template, m.NReturns = le.Uint32(h[4:]), le.Uint32(h[8:])
	copy(m.Task[:], h[20:])
	copy(m.Parent[:], h[44:])
	m.Deps = c.refs(int(le.Uint16(h[12:])))
	m.Refs = c.refs(int(le.Uint16(h[14:])))
	n := le.Uint32(h[16:])
	if c.bad || uint64(n) != uint64(len(c.b)) {
		return malformed(TSubmit, "its counts do not add up to its length")
	}
	m.Payload = c.b
	return nil
}

// Put is a PUT frame.
type Put struct {
	ID    spec.ObjectID
	Value Value
}

const putSize = 36

// Append encodes the frame.
func (m *Put) Append(b []byte) []byte {
	b, at := Begin(b, TPut, 0, 0)
	b = le.AppendUint16(b, putSize)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = append(b, m.ID[:]...)
	return End(m.Value.Append(b), at)
}

// Decode reads a body; slices point into it.
func (m *Put) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(putSize)
	if h == nil {
		return malformed(TPut, "too short")
	}
	copy(m.ID[:], h[8:])
	c.value(&m.Value)
	if c.bad || m.Value.Where == Elsewhere {
		return malformed(TPut, "value cut off or of a place that cannot be put")
	}
	return nil
}

// Counts is the body of RELEASE and UNPIN: object ids, each with a count.
type Counts []byte

const countSize = spec.ObjectIDSize + 4

// DecodeCounts checks a body.
func DecodeCounts(t Type, body []byte) (Counts, error) {
	if len(body)%countSize != 0 {
		return nil, malformed(t, "not a whole number of entries")
	}
	return Counts(body), nil
}

// Len is the number of entries.
func (c Counts) Len() int { return len(c) / countSize }

// At is entry i.
func (c Counts) At(i int) (spec.ObjectID, uint32) {
	e := c[i*countSize:]
	return spec.ObjectID(e[:spec.ObjectIDSize]), le.Uint32(e[spec.ObjectIDSize:])
}

// Add appends an entry.
func (c Counts) Add(id spec.ObjectID, n uint32) Counts {
	return le.AppendUint32(append(c, id[:]...), n)
}

// AppendCounts encodes a RELEASE or UNPIN frame.
func AppendCounts(b []byte, t Type, c Counts) []byte { return AppendFrame(b, Frame{Type: t, Body: c}) }

// Get is a GET or WAIT frame.
type Get struct {
	Flags   uint8
	Request uint32
	Refs    []spec.Ref
}

const getSize = 12

// AppendAs encodes the frame as t, TGet or TWait.
func (m *Get) AppendAs(b []byte, t Type) []byte {
	b, at := Begin(b, t, 0, 0)
	b = le.AppendUint16(b, getSize)
	b = append(b, m.Flags, 0)
	b = le.AppendUint32(b, m.Request)
	b = le.AppendUint32(b, uint32(len(m.Refs)))
	return End(AppendRefs(b, m.Refs), at)
}

// Decode reads a body; slices point into it.
func (m *Get) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(getSize)
	if h == nil {
		return malformed(TGet, "too short")
	}
	m.Flags, m.Request = h[2], le.Uint32(h[4:])
	if n := le.Uint32(h[8:]); uint64(n)*RefSize != uint64(len(c.b)) {
		return malformed(TGet, "its count does not match its length")
	}
	m.Refs = asRefs(c.b)
	return nil
}

// Create is a CREATE frame.
type Create struct {
	Request uint32
	ID      spec.ObjectID
	Size    uint64
}

const createSize = 44

// Append encodes the frame.
func (m *Create) Append(b []byte) []byte {
	b, at := Begin(b, TCreate, 0, 0)
	b = le.AppendUint16(b, createSize)
	b = append(b, 0, 0)
	b = le.AppendUint32(b, m.Request)
	b = append(b, m.ID[:]...)
	return End(le.AppendUint64(b, m.Size), at)
}

// Decode reads a body.
func (m *Create) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(createSize)
	if h == nil {
		return malformed(TCreate, "too short")
	}
	m.Request = le.Uint32(h[4:])
	copy(m.ID[:], h[8:])
	m.Size = le.Uint64(h[36:])
	return nil
}

// AppendID encodes a frame whose body is one object id: ABORT.
func AppendID(b []byte, t Type, id spec.ObjectID) []byte {
	return AppendFrame(b, Frame{Type: t, Body: id[:]})
}

// DecodeID reads a body that is one object id: ABORT.
func DecodeID(t Type, body []byte) (spec.ObjectID, error) {
	if len(body) != spec.ObjectIDSize {
		return spec.ObjectID{}, malformed(t, "not one object id")
	}
	return spec.ObjectID(body), nil
}
