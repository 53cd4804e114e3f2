package wire

import "math"

// ReplyIsError is the flag of a REPLY whose JSON is an ErrorInfo.
const ReplyIsError uint8 = 1

// Call is a CALL frame, or, with id 0 and no reply, a NOTE.
type Call struct {
	ID     uint32
	Method []byte
	JSON   []byte
	Tail   []byte
}

// Append encodes the frame, a NOTE if ID is 0.
func (m *Call) Append(b []byte) []byte {
	t := TCall
	if m.ID == 0 {
		t = TNote
	}
	b, at := Begin(b, t, 0, 0)
	b = le.AppendUint32(b, m.ID)
	b = le.AppendUint16(b, uint16(len(m.Method)))
	b = append(b, 0, 0)
	b = le.AppendUint32(b, uint32(len(m.JSON)))
	b = append(b, m.Method...)
	b = append(b, m.JSON...)
	return End(append(b, m.Tail...), at)
}

// Decode reads a body; slices point into it.
func (m *Call) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.take(12)
	if h == nil {
		return malformed(TCall, "too short")
	}
	n := le.Uint32(h[8:])
	m.ID = le.Uint32(h)
	m.Method = c.take(int(le.Uint16(h[4:])))
	if n > math.MaxInt32 {
		return malformed(TCall, "JSON too long")
	}
	m.JSON = c.take(int(n))
	if c.bad {
		return malformed(TCall, "method or JSON cut off")
	}
	m.Tail = c.b
	return nil
}

// Reply is a REPLY frame.
type Reply struct {
	ID    uint32
	Error bool // JSON is an ErrorInfo
	JSON  []byte
	Tail  []byte
}

// Append encodes the frame.
func (m *Reply) Append(b []byte) []byte {
	b, at := Begin(b, TReply, bit(m.Error)*ReplyIsError, 0)
	b = le.AppendUint32(b, m.ID)
	b = le.AppendUint32(b, uint32(len(m.JSON)))
	b = append(b, m.JSON...)
	return End(append(b, m.Tail...), at)
}

// Decode reads a frame's body; slices point into it.
func (m *Reply) Decode(f Frame) error {
	c := cursor{b: f.Body}
	m.Error = f.Flags&ReplyIsError != 0
	m.ID = c.u32()
	n := c.u32()
	if n > math.MaxInt32 {
		return malformed(TReply, "JSON too long")
	}
	m.JSON = c.take(int(n))
	if c.bad {
		return malformed(TReply, "JSON cut off")
	}
	m.Tail = c.b
	return nil
}
