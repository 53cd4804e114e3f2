package wire

import (
	"encoding/binary"
	"encoding/json"
	"unsafe"

	"ray/internal/spec"
)

// RefSize is the bytes of a reference on the wire.
const RefSize = spec.ObjectIDSize + spec.NodeIDSize

// Places of a value.
const (
	Inline    uint8 = 0 // the blob is in the frame
	Arena     uint8 = 1 // Offset and Size name it in this machine's arena
	Elsewhere uint8 = 2 // it exists, not here; GET brings it
)

// Blob kinds, the first byte of a blob.
const (
	BlobPickle    uint8 = 0
	BlobRaw       uint8 = 1
	BlobError     uint8 = 2 // pickle of an exception
	BlobErrorInfo uint8 = 3 // JSON of spec.ErrorInfo
	BlobArrow     uint8 = 4
	BlobNone      uint8 = 5
)

// BlobHeaderSize is the fixed part of a blob.
const BlobHeaderSize = 8

// InlineLimit is the default size over which blobs go to the arena, in bytes.
const InlineLimit = 100 << 10

// BlobKind is the kind byte of a blob, BlobNone for an empty one.
func BlobKind(blob []byte) uint8 {
	if len(blob) == 0 {
		return BlobNone
	}
	return blob[0]
}

// IsError tells whether a blob is one of the two kinds of error.
func IsError(blob []byte) bool {
	k := BlobKind(blob)
	return k == BlobError || k == BlobErrorInfo
}

// ErrorBlob makes the blob of an error that a daemon made.
func ErrorBlob(info *spec.ErrorInfo) []byte {
	text, err := json.Marshal(info)
	if err != nil { // a field that JSON cannot hold: keep what can be said
		text, _ = json.Marshal(spec.ErrorInfo{Type: info.Type, Message: info.Message})
	}
	b := make([]byte, BlobHeaderSize, BlobHeaderSize+len(text))
	b[0], b[1] = BlobErrorInfo, 1
	binary.LittleEndian.PutUint32(b[4:], uint32(len(text)))
	return append(b, text...)
}

// ErrorOf reads back what ErrorBlob wrote; nil if the blob is of another kind
// or broken.
func ErrorOf(blob []byte) *spec.ErrorInfo {
	if BlobKind(blob) != BlobErrorInfo || len(blob) < BlobHeaderSize {
		return nil
	}
	n := binary.LittleEndian.Uint32(blob[4:])
	if uint64(len(blob)) < BlobHeaderSize+uint64(n) {
		return nil
	}
	var info spec.ErrorInfo
	if json.Unmarshal(blob[BlobHeaderSize:BlobHeaderSize+int(n)], &info) != nil {
		return nil
	}
	return &info
}

// Value is a blob with its place and the references inside it. Decoded slices
// point into the frame's body.
type Value struct {
	Where  uint8
	Refs   []spec.Ref
	Blob   []byte // Inline
	Offset uint64 // Arena
	Size   uint64 // Arena
}

// InlineValue is a value whose blob travels in the frame.
func InlineValue(blob []byte, refs []spec.Ref) Value { return Value{Blob: blob, Refs: refs} }

// ErrorValue is an inline value that holds an error made by a daemon.
func ErrorValue(info *spec.ErrorInfo) Value { return Value{Blob: ErrorBlob(info)} }

// Append encodes v.
func (v *Value) Append(b []byte) []byte {
	n := uint32(0)
	switch v.Where {
	case Inline:
		n = uint32(len(v.Blob))
	case Arena:
		n = 16
	}
	b = append(b, v.Where, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(v.Refs)))
	b = binary.LittleEndian.AppendUint32(b, n)
	b = AppendRefs(b, v.Refs)
	switch v.Where {
	case Inline:
		b = append(b, v.Blob...)
	case Arena:
		b = binary.LittleEndian.AppendUint64(b, v.Offset)
		b = binary.LittleEndian.AppendUint64(b, v.Size)
	}
	return b
}

// MaxRefs is how many references a value, a task's dependencies or its nested
// references can have.
const MaxRefs = 1<<16 - 1

// AppendRefs encodes references.
func AppendRefs(b []byte, refs []spec.Ref) []byte { return append(b, refBytes(refs)...) }

// A spec.Ref is two byte arrays, so its memory is its encoding and any
// address is aligned for it: lists convert without a copy.
var _ [RefSize]byte = [unsafe.Sizeof(spec.Ref{})]byte{}

func refBytes(refs []spec.Ref) []byte {
	if len(refs) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&refs[0])), len(refs)*RefSize)
}

func asRefs(b []byte) []spec.Ref {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*spec.Ref)(unsafe.Pointer(&b[0])), len(b)/RefSize)
}

// cursor reads fields off a body; bad stays set after the first shortage.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) refs(n int) []spec.Ref { return asRefs(c.take(n * RefSize)) }

// fixed takes a struct that begins with its own length: at least size bytes,
// of which a newer writer may have appended more.
func (c *cursor) fixed(size int) []byte {
	if len(c.b) < 2 {
		c.bad, c.b = true, nil
		return nil
	}
	n := int(binary.LittleEndian.Uint16(c.b))
	if n < size {
		c.bad, c.b = true, nil
		return nil
	}
	return c.take(n)
}

func (c *cursor) value(v *Value) {
	h := c.take(8)
	if h == nil {
		return
	}
	nrefs, n := int(binary.LittleEndian.Uint16(h[2:])), binary.LittleEndian.Uint32(h[4:])
	*v = Value{Where: h[0]}
	if uint64(n) > uint64(len(c.b)) {
		c.bad = true
		return
	}
	v.Refs = c.refs(nrefs)
	body := c.take(int(n))
	switch {
	case c.bad:
	case v.Where == Inline:
		v.Blob = body
	case v.Where == Arena && len(body) >= 16:
		v.Offset = binary.LittleEndian.Uint64(body)
		v.Size = binary.LittleEndian.Uint64(body[8:])
	case v.Where == Elsewhere:
	default:
		c.bad = true
	}
}

// DecodeValue reads a value from the front of b and returns what follows it.
func DecodeValue(b []byte, v *Value) (rest []byte, err error) {
	c := cursor{b: b}
	c.value(v)
	if c.bad {
		return nil, malformed(TPut, "value cut off or of an unknown place")
	}
	return c.b, nil
}

// IndexedValue is a return of a task: Index 0 in a DONE or PUSH stands for
// every return.
type IndexedValue struct {
	Index uint32
	Value Value
}

func appendIndexed(b []byte, vs []IndexedValue) []byte {
	for i := range vs {
		b = binary.LittleEndian.AppendUint32(b, vs[i].Index)
		b = vs[i].Value.Append(b)
	}
	return b
}

// indexed reads n returns into the memory of old.
func (c *cursor) indexed(old []IndexedValue, n uint32) []IndexedValue {
	old = old[:0]
	for range n {
		if c.bad || len(c.b) < 12 {
			c.bad = true
			return old
		}
		var iv IndexedValue
		iv.Index = c.u32()
		c.value(&iv.Value)
		old = append(old, iv)
	}
	return old
}
