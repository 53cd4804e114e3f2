package wire

import "ray/internal/spec"

// Done is a DONE frame.
type Done struct {
	Status     uint8
	Seq, Epoch uint32
	Items      uint32 // what a streaming task yielded
	Micros     uint32 // run time
	Task       spec.TaskID
	Returns    []IndexedValue
}

const doneSize = 48

// Append encodes the frame.
func (m *Done) Append(b []byte) []byte {
	b, at := Begin(b, TDone, 0, 0)
	b = le.AppendUint16(b, doneSize)
	b = append(b, m.Status, 0)
	b = le.AppendUint32(b, m.Seq)
	b = le.AppendUint32(b, m.Epoch)
	b = le.AppendUint32(b, uint32(len(m.Returns)))
	b = le.AppendUint32(b, m.Items)
	b = le.AppendUint32(b, m.Micros)
	b = append(b, m.Task[:]...)
	return End(appendIndexed(b, m.Returns), at)
}

// Decode reads a body; slices point into it, and Returns reuses its memory.
func (m *Done) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(doneSize)
	if h == nil {
		return malformed(TDone, "too short")
	}
	m.Status, m.Seq, m.Epoch = h[2], le.Uint32(h[4:]), le.Uint32(h[8:])
	m.Items, m.Micros = le.Uint32(h[16:]), le.Uint32(h[20:])
	copy(m.Task[:], h[24:])
	m.Returns = c.indexed(m.Returns, le.Uint32(h[12:]))
	if c.bad {
		return malformed(TDone, "returns cut off or malformed")
	}
	return nil
}

// Yield is a YIELD frame: one item of a streaming task.
type Yield struct {
	Seq, Epoch uint32
	Index      uint32
	Task       spec.TaskID
	Value      Value
}

const yieldSize = 40

// Append encodes the frame.
func (m *Yield) Append(b []byte) []byte {
	b, at := Begin(b, TYield, 0, 0)
	b = le.AppendUint16(b, yieldSize)
	b = append(b, 0, 0)
	b = le.AppendUint32(b, m.Seq)
	b = le.AppendUint32(b, m.Epoch)
	b = le.AppendUint32(b, m.Index)
	b = append(b, m.Task[:]...)
	return End(m.Value.Append(b), at)
}

// Decode reads a body; slices point into it.
func (m *Yield) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(yieldSize)
	if h == nil {
		return malformed(TYield, "too short")
	}
	m.Seq, m.Epoch, m.Index = le.Uint32(h[4:]), le.Uint32(h[8:]), le.Uint32(h[12:])
	copy(m.Task[:], h[16:])
	c.value(&m.Value)
	if c.bad {
		return malformed(TYield, "value cut off or malformed")
	}
	return nil
}

// AppendPair encodes a frame of two u32: BLOCKED, UNBLOCKED (seq, epoch) and
// RECALLED (epoch, seq).
func AppendPair(b []byte, t Type, first, second uint32) []byte {
	b, at := Begin(b, t, 0, 0)
	return End(le.AppendUint32(le.AppendUint32(b, first), second), at)
}

// DecodePair reads what AppendPair wrote.
func DecodePair(t Type, body []byte) (first, second uint32, err error) {
	if len(body) < 8 {
		return 0, 0, malformed(t, "too short")
	}
	return le.Uint32(body), le.Uint32(body[4:]), nil
}

// AppendU32 encodes a frame of one u32: FORGET (request) and RECALL (epoch).
func AppendU32(b []byte, t Type, v uint32) []byte {
	b, at := Begin(b, t, 0, 0)
	return End(le.AppendUint32(b, v), at)
}

// DecodeU32 reads what AppendU32 wrote.
func DecodeU32(t Type, body []byte) (uint32, error) {
	if len(body) < 4 {
		return 0, malformed(t, "too short")
	}
	return le.Uint32(body), nil
}

// AppendConsumed encodes CONSUMED or GEN_CONSUMED: items taken in all.
func AppendConsumed(b []byte, t Type, task spec.TaskID, items uint32) []byte {
	b, at := Begin(b, t, 0, 0)
	return End(le.AppendUint32(append(b, task[:]...), items), at)
}

// DecodeConsumed reads what AppendConsumed wrote.
func DecodeConsumed(t Type, body []byte) (spec.TaskID, uint32, error) {
	if len(body) < spec.TaskIDSize+4 {
		return spec.TaskID{}, 0, malformed(t, "too short")
	}
	return spec.TaskID(body[:spec.TaskIDSize]), le.Uint32(body[spec.TaskIDSize:]), nil
}

// AppendCancel encodes CANCEL.
func AppendCancel(b []byte, task spec.TaskID, recursive bool) []byte {
	b, at := Begin(b, TCancel, 0, 0)
	b = append(b, task[:]...)
	if recursive {
		return End(append(b, 1), at)
	}
	return End(append(b, 0), at)
}

// DecodeCancel reads CANCEL.
func DecodeCancel(body []byte) (task spec.TaskID, recursive bool, err error) {
	if len(body) < spec.TaskIDSize+1 {
		return task, false, malformed(TCancel, "too short")
	}
	return spec.TaskID(body[:spec.TaskIDSize]), body[spec.TaskIDSize]&1 != 0, nil
}

// Exec is an EXEC frame.
type Exec struct {
	Kind, Flags  uint8
	Seq, Epoch   uint32
	Template     uint32
	NReturns     uint32
	Attempt      uint32
	Task, Parent spec.TaskID
	Owner        spec.NodeID // of the items, where the task returns references to them; zero: not told
	Deps         []Dep
	Refs         []spec.Ref
	Payload      []byte
}

// Dep is a dependency of a task with its value.
type Dep struct {
	Ref   spec.Ref
	Value Value
}

const execSize = 80

// Append encodes the frame.
func (m *Exec) Append(b []byte) []byte {
	b, at := Begin(b, TExec, 0, 0)
	size := uint16(execSize)
	if !m.Owner.IsZero() {
		size += spec.NodeIDSize
	}
	b = le.AppendUint16(b, size)
	b = append(b, m.Kind, m.Flags)
	b = le.AppendUint32(b, m.Seq)
	b = le.AppendUint32(b, m.Epoch)
	b = le.AppendUint32(b, m.Template)
	b = le.AppendUint32(b, m.NReturns)
	b = le.AppendUint32(b, m.Attempt)
	b = le.AppendUint16(b, uint16(len(m.Deps)))
	b = le.AppendUint16(b, uint16(len(m.Refs)))
	b = le.AppendUint32(b, uint32(len(m.Payload)))
	b = append(append(b, m.Task[:]...), m.Parent[:]...)
	if !m.Owner.IsZero() {
		b = append(b, m.Owner[:]...)
	}
	for i := range m.Deps {
		b = append(append(b, m.Deps[i].Ref.ID[:]...), m.Deps[i].Ref.Owner[:]...)
		b = m.Deps[i].Value.Append(b)
	}
	b = AppendRefs(b, m.Refs)
	return End(append(b, m.Payload...), at)
}

// Decode reads a body; slices point into it, and Deps reuses its memory.
func (m *Exec) Decode(body []byte) error {
	c := cursor{b: body}
	h := c.fixed(execSize)
	if h == nil {
		return malformed(TExec, "too short")
	}
	m.Kind, m.Flags = h[2], h[3]
	m.Seq, m.Epoch, m.Template = le.Uint32(h[4:]), le.Uint32(h[8:]), le.Uint32(h[12:])
	m.NReturns, m.Attempt = le.Uint32(h[16:]), le.Uint32(h[20:])
	copy(m.Task[:], h[32:])
	copy(m.Parent[:], h[56:])
	if m.Owner = (spec.NodeID{}); len(h) >= execSize+spec.NodeIDSize {
		copy(m.Owner[:], h[execSize:])
	}
	m.Deps = m.Deps[:0]
	for range le.Uint16(h[24:]) {
		ref := c.refs(1)
		if c.bad {
			break
		}
		d := Dep{Ref: ref[0]}
		c.value(&d.Value)
		m.Deps = append(m.Deps, d)
	}
	m.Refs = c.refs(int(le.Uint16(h[26:])))
	if c.bad || uint64(le.Uint32(h[28:])) != uint64(len(c.b)) {
		return malformed(TExec, "its counts do not add up to its length")
	}
	m.Payload = c.b
	return nil
}
