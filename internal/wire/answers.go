package wire

import (
	"encoding/json"

	"ray/internal/spec"
)

// PushItem is the flag of a PUSH that carries one item of a stream that goes on.
const PushItem uint8 = 1

// Push is a PUSH frame: what a finished task, or a stream, made.
type Push struct {
	Flags   uint8
	Items   uint32
	Task    spec.TaskID
	Returns []IndexedValue
}

const pushSize = 40

// Append encodes the frame.
func (m *Push) Append(b []byte) []byte {
	b, at := Begin(b, TPush, 0, 0)
	b = le.AppendUint16(b, pushSize)
	b = append(b, m.Flags, 0)
	b = le.AppendUint32(b, uint32(len(m.Returns)))
	b = le.AppendUint32(b, m.Items)
	b = le.AppendUint32(b, 0)
	b = append(b, m.Task[:]...)
	return End(appendIndexed(b, m.Returns), at)
}

// Decode reads a body; slices point into it, and Returns reuses its memory.
func (m *Push) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(pushSize)
	if h == nil {
		return malformed(TPush, "too short")
	}
	m.Flags, m.Items = h[2], le.Uint32(h[8:])
	copy(m.Task[:], h[16:])
	m.Returns = c.indexed(m.Returns, le.Uint32(h[4:]))
	if c.bad {
		return malformed(TPush, "returns cut off or malformed")
	}
	return nil
}

// Obj is an OBJ frame: one object of a GET.
type Obj struct {
	Request uint32
	Index   uint32 // in the request's list
	Value   Value
}

const objSize = 12

// Append encodes the frame.
func (m *Obj) Append(b []byte) []byte {
	b, at := Begin(b, TObj, 0, 0)
	b = le.AppendUint16(b, objSize)
	b = append(b, 0, 0)
	b = le.AppendUint32(b, m.Request)
	b = le.AppendUint32(b, m.Index)
	return End(m.Value.Append(b), at)
}

// Decode reads a body; slices point into it.
func (m *Obj) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(objSize)
	if h == nil {
		return malformed(TObj, "too short")
	}
	m.Request, m.Index = le.Uint32(h[4:]), le.Uint32(h[8:])
	c.value(&m.Value)
	if c.bad {
		return malformed(TObj, "value cut off or malformed")
	}
	return nil
}

// Ready is a READY frame: which of a WAIT's references are ready.
type Ready struct {
	Request uint32
	Indices []uint32
}

// Append encodes the frame.
func (m *Ready) Append(b []byte) []byte {
	b, at := Begin(b, TReady, 0, 0)
	b = le.AppendUint32(b, m.Request)
	b = le.AppendUint32(b, uint32(len(m.Indices)))
	for _, i := range m.Indices {
		b = le.AppendUint32(b, i)
	}
	return End(b, at)
}

// Decode reads a body; Indices reuses its memory.
func (m *Ready) Decode(body []byte) error {
	c := cursor{b: body}
	m.Request = c.u32()
	n := c.u32()
	if c.bad || uint64(n)*4 != uint64(len(c.b)) {
		return malformed(TReady, "its count does not match its length")
	}
	m.Indices = m.Indices[:0]
	for range n {
		m.Indices = append(m.Indices, c.u32())
	}
	return nil
}

// Created is a CREATED frame. A nil Error is status 0.
type Created struct {
	Warm    bool // this client has had these pages mapped
	Request uint32
	Offset  uint64
	Error   *spec.ErrorInfo
}

const createdSize = 16

// Append encodes the frame.
func (m *Created) Append(b []byte) []byte {
	b, at := Begin(b, TCreated, 0, 0)
	b = le.AppendUint16(b, createdSize)
	b = append(b, bit(m.Error != nil), bit(m.Warm))
	b = le.AppendUint32(b, m.Request)
	b = le.AppendUint64(b, m.Offset)
	if m.Error != nil {
		b = append(b, mustJSON(m.Error)...)
	}
	return End(b, at)
}

// Decode reads a body.
func (m *Created) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(createdSize)
	if h == nil {
		return malformed(TCreated, "too short")
	}
	*m = Created{Warm: h[3] != 0, Request: le.Uint32(h[4:]), Offset: le.Uint64(h[8:])}
	if h[2] != 0 {
		m.Error = &spec.ErrorInfo{}
		if err := json.Unmarshal(c.b, m.Error); err != nil {
			return malformed(TCreated, "error is no JSON: "+err.Error())
		}
	}
	return nil
}

// Lent is a LENT frame: room for one object, without a CREATE.
type Lent struct {
	Warm         bool // this client has had these pages mapped
	Number       uint32
	Offset, Size uint64
}

const lentSize = 24

// Append encodes the frame.
func (m *Lent) Append(b []byte) []byte {
	b, at := Begin(b, TLent, 0, 0)
	b = le.AppendUint16(b, lentSize)
	b = append(b, bit(m.Warm), 0)
	b = le.AppendUint32(b, m.Number)
	b = le.AppendUint64(b, m.Offset)
	return End(le.AppendUint64(b, m.Size), at)
}

// Decode reads a body.
func (m *Lent) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(lentSize)
	if h == nil {
		return malformed(TLent, "too short")
	}
	*m = Lent{Warm: h[2] != 0, Number: le.Uint32(h[4:]), Offset: le.Uint64(h[8:]), Size: le.Uint64(h[16:])}
	return nil
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// mustJSON encodes values that hold nothing JSON cannot say; what fails
// anyway becomes null, so that the reader sees a malformed frame.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}

// AppendJSON encodes a frame whose body is JSON: HELLO, HELLO_OK, FATAL,
// LEASE, LOG, EXIT.
func AppendJSON(b []byte, t Type, v any) []byte {
	return AppendFrame(b, Frame{Type: t, Body: mustJSON(v)})
}

// DecodeJSON reads a body that is JSON.
func DecodeJSON(t Type, body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return malformed(t, err.Error())
	}
	return nil
}
