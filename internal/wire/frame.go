package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Type is the second field of a frame's header.
type Type uint8

// Frame types; docs/PROTOCOL.md section 2 has the bodies.
const (
	THello       Type = 0x01
	THelloOK     Type = 0x02
	TFatal       Type = 0x03
	TCall        Type = 0x08
	TReply       Type = 0x09
	TNote        Type = 0x0A
	TTemplate    Type = 0x10
	TExport      Type = 0x11
	TSubmit      Type = 0x12
	TPut         Type = 0x13
	TRelease     Type = 0x14
	TGet         Type = 0x15
	TWait        Type = 0x16
	TForget      Type = 0x17
	TUnpin       Type = 0x18
	TCreate      Type = 0x19
	TAbort       Type = 0x1A
	TDone        Type = 0x1B
	TYield       Type = 0x1C
	TBlocked     Type = 0x1D
	TUnblocked   Type = 0x1E
	TReturn      Type = 0x1F
	TConsumed    Type = 0x20
	TPush        Type = 0x30
	TObj         Type = 0x31
	TReady       Type = 0x32
	TCreated     Type = 0x33
	TExec        Type = 0x34
	TLease       Type = 0x35
	TLent        Type = 0x36
	TRecall      Type = 0x50
	TRecalled    Type = 0x51
	TCancel      Type = 0x52
	TLog         Type = 0x53
	TExit        Type = 0x54
	TGenConsumed Type = 0x55
	TStack       Type = 0x56
	TCollect     Type = 0x57
	TData        Type = 0x60
	TAck         Type = 0x61
	tEnd         Type = 0x62 // ends a session
	TPiece       Type = 0x63
)

// typeNames is for error texts.
var typeNames = map[Type]string{
	THello: "HELLO", THelloOK: "HELLO_OK", TFatal: "FATAL", TCall: "CALL", TReply: "REPLY", TNote: "NOTE",
	TTemplate: "TEMPLATE", TExport: "EXPORT", TSubmit: "SUBMIT", TPut: "PUT", TRelease: "RELEASE", TGet: "GET",
	TWait: "WAIT", TForget: "FORGET", TUnpin: "UNPIN", TCreate: "CREATE", TAbort: "ABORT", TDone: "DONE",
	TYield: "YIELD", TBlocked: "BLOCKED", TUnblocked: "UNBLOCKED", TConsumed: "CONSUMED", TPush: "PUSH",
	TObj: "OBJ", TReady: "READY", TCreated: "CREATED", TExec: "EXEC", TLease: "LEASE", TLent: "LENT", TReturn: "RETURN", TRecall: "RECALL",
	TRecalled: "RECALLED", TCancel: "CANCEL", TLog: "LOG", TExit: "EXIT", TGenConsumed: "GEN_CONSUMED",
	TStack: "STACK", TCollect: "COLLECT", TData: "DATA", TAck: "ACK", tEnd: "END", TPiece: "PIECE",
}

// String is the type's name in docs/PROTOCOL.md.
func (t Type) String() string {
	if n, ok := typeNames[t]; ok {
		return n
	}
	return fmt.Sprintf("type 0x%02x", uint8(t))
}

const (
	// HeaderSize is the bytes of a frame before its body.
	HeaderSize = 8
	// MaxFrame bounds what the length field may say.
	MaxFrame = 1 << 30
	// HelloLimit bounds frames until HELLO is answered.
	HelloLimit = 64 << 10
)

// Frame is one frame of a stream. Body belongs to whoever made it; see Reader
// for how long it stays valid.
type Frame struct {
	Type  Type
	Flags uint8
	Aux   uint16
	Body  []byte
}

// ErrMalformed is wrapped by every error about bytes that break the protocol.
var ErrMalformed = errors.New("malformed frame")

func malformed(t Type, why string) error { return fmt.Errorf("%s: %w: %s", t, ErrMalformed, why) }

// Begin appends the header of a frame whose length is not known yet and
// returns the new buffer and the place to give to End.
func Begin(b []byte, t Type, flags uint8, aux uint16) ([]byte, int) {
	at := len(b)
	return append(b, 0, 0, 0, 0, uint8(t), flags, uint8(aux), uint8(aux>>8)), at
}

// End fills in the length of the frame that Begin started at place at.
func End(b []byte, at int) []byte {
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// AppendFrame appends a whole frame.
func AppendFrame(b []byte, f Frame) []byte {
	b, at := Begin(b, f.Type, f.Flags, f.Aux)
	return End(append(b, f.Body...), at)
}

// ParseFrame splits the first whole frame off b. n is 0 if b holds only part
// of one; the error is about the header alone.
func ParseFrame(b []byte, limit int) (f Frame, n int, err error) {
	if len(b) < 4 {
		return f, 0, nil
	}
	size := binary.LittleEndian.Uint32(b)
	if size < HeaderSize-4 {
		return f, 0, fmt.Errorf("%w: length %d is shorter than a header", ErrMalformed, size)
	}
	if uint64(size) > uint64(limit) {
		return f, 0, fmt.Errorf("%w: length %d is over the limit of %d bytes", ErrMalformed, size, limit)
	}
	if uint64(len(b)) < uint64(size)+4 {
		return f, 0, nil
	}
	n = int(size) + 4
	f = Frame{Type: Type(b[4]), Flags: b[5], Aux: binary.LittleEndian.Uint16(b[6:]), Body: b[HeaderSize:n:n]}
	return f, n, nil
}

const (
	firstBuffer = 4 << 10  // most connections of a thousand idle workers never need more
	readBuffer  = 64 << 10 // what one that is busy reads into
	keepBuffer  = 1 << 20  // larger buffers go back to the collector …
	calmReads   = 64       // … after so many reads that did not need them
)

// Reader cuts a byte stream into frames. Bodies are slices of its buffer: all
// frames of a batch, that is from one Next for which Buffered was false up to
// the next such one, stay valid together. Not for concurrent use.
type Reader struct {
	src   io.Reader
	buf   []byte
	start int // first byte not yet returned
	end   int // end of what was read
	limit int
	calm  int  // reads since a frame needed a large buffer
	full  bool // the last read filled the buffer
}

// NewReader reads frames of at most limit bytes; 0 means MaxFrame.
func NewReader(src io.Reader, limit int) *Reader {
	r := &Reader{src: src, buf: make([]byte, firstBuffer)}
	r.SetLimit(limit)
	return r
}

// SetLimit changes the largest length accepted; 0 means MaxFrame.
func (r *Reader) SetLimit(limit int) {
	if limit <= 0 || limit > MaxFrame {
		limit = MaxFrame
	}
	r.limit = limit
}

// Buffered tells whether Next will return without reading from the stream.
func (r *Reader) Buffered() bool {
	_, n, err := ParseFrame(r.buf[r.start:r.end], r.limit)
	return n > 0 || err != nil
}

// Rest hands out the bytes that were read but not returned, for a stream that
// changes its protocol after a handshake. They stay valid until the next Next.
func (r *Reader) Rest() []byte {
	b := r.buf[r.start:r.end]
	r.start = r.end
	return b
}

// Next returns the next frame, reading as much as needed. The error is io.EOF
// only at the border between two frames.
func (r *Reader) Next() (Frame, error) {
	for moved := false; ; {
		f, n, err := ParseFrame(r.buf[r.start:r.end], r.limit)
		if err != nil {
			return Frame{}, err
		}
		if n > 0 {
			r.start += n
			return f, nil
		}
		if !moved {
			r.compact()
			moved = true
		}
		if r.end == len(r.buf) {
			r.grow()
		}
		n, err = r.src.Read(r.buf[r.end:])
		r.end += n
		r.full = r.end == len(r.buf)
		if n == 0 && err != nil {
			if err == io.EOF && r.end > r.start {
				return Frame{}, io.ErrUnexpectedEOF
			}
			return Frame{}, err
		}
	}
}

// compact moves the unread part to the front, of a small buffer if it fits.
func (r *Reader) compact() {
	rest := r.buf[r.start:r.end]
	dst := r.buf
	if r.full && len(r.buf) < readBuffer {
		dst = make([]byte, readBuffer)
	}
	if len(r.buf) > keepBuffer && len(rest) < readBuffer {
		if r.calm++; r.calm > calmReads {
			dst = make([]byte, readBuffer)
		}
	} else {
		r.calm = 0
	}
	r.end = copy(dst, rest)
	r.start, r.buf = 0, dst
}

// grow doubles the buffer; it grows with what has arrived, never by what a
// header claims.
func (r *Reader) grow() {
	bigger := make([]byte, 2*len(r.buf))
	copy(bigger, r.buf[:r.end])
	r.buf = bigger
}
