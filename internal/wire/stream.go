package wire

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// pieceSize is the most bytes of a stream that travel in one frame: what a
	// broken connection makes the sender repeat.
	pieceSize = 32 << 10
	// streamWindow is how many bytes of a stream may be on their way. The
	// receiver acknowledges what its consumer has taken, so this is also the
	// most that it must hold.
	streamWindow = 4 << 20
)

// Stream is a byte stream inside a session: a connection that breaks is
// resumed underneath it, and neither end sees more than a pause. Reading ends
// with an error when the session does. One goroutine may read while another
// writes.
type Stream struct {
	s       *Session
	in      *io.PipeReader
	done    chan struct{} // Run has returned
	write   sync.Mutex
	mu      sync.Mutex
	limit   time.Time     // of writes
	changed chan struct{} // closed when limit changes
}

// NewStream makes a stream of s and runs it. Close ends both.
func NewStream(s *Session) *Stream {
	r, w := io.Pipe()
	st := &Stream{s: s, in: r, done: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(st.done)
		err := s.Run(func(f Frame) {
			if f.Type != TPiece {
				_ = w.CloseWithError(fmt.Errorf("%w: %s in a stream", ErrMalformed, f.Type))
				return
			}
			_, _ = w.Write(f.Body) // fails only after Close
		}, func() {
			// The other side has begun anew: this stream cannot go on.
			_ = w.CloseWithError(ErrLost)
			s.mu.Lock()
			s.end(ErrLost, false)
			s.mu.Unlock()
		})
		if err == nil || err == ErrEnded {
			err = io.EOF
		}
		_ = w.CloseWithError(err)
	}()
	return st
}

// Read implements net.Conn; io.EOF once the other side has closed.
func (st *Stream) Read(b []byte) (int, error) { return st.in.Read(b) }

// Write implements net.Conn. It waits while the other side takes nothing.
func (st *Stream) Write(b []byte) (int, error) {
	st.write.Lock()
	defer st.write.Unlock()
	n := 0
	var buf []byte
	for n < len(b) {
		if err := st.room(); err != nil {
			return n, err
		}
		part := b[n:min(len(b), n+pieceSize)]
		buf = AppendFrame(buf[:0], Frame{Type: TPiece, Body: part})
		if err := st.s.Send(buf); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// room waits until more may be sent.
func (st *Stream) room() error {
	for st.s.Queued() >= streamWindow {
		st.mu.Lock()
		limit, changed := st.limit, st.changed
		st.mu.Unlock()
		var over <-chan time.Time
		if !limit.IsZero() {
			t := time.NewTimer(time.Until(limit))
			defer t.Stop()
			over = t.C
		}
		select {
		case <-st.s.moved:
		case <-st.s.ctx.Done():
			return ErrClosed
		case <-changed:
		case <-over:
			return os.ErrDeadlineExceeded
		}
	}
	return nil
}

// Close implements net.Conn: what was written is given a moment to leave.
func (st *Stream) Close() error {
	_ = st.in.Close()
	err := st.s.Close()
	<-st.done
	return err
}

// SetWriteDeadline implements net.Conn.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.limit = t
	close(st.changed)
	st.changed = make(chan struct{})
	return nil
}

// SetReadDeadline implements net.Conn; it is not there.
func (st *Stream) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetDeadline implements net.Conn for writes only.
func (st *Stream) SetDeadline(t time.Time) error {
	if err := st.SetWriteDeadline(t); err != nil {
		return err
	}
	return st.SetReadDeadline(t)
}

// LocalAddr implements net.Conn: a stream has no address of its own.
func (st *Stream) LocalAddr() net.Addr { return streamAddr(st.s.self) }

// RemoteAddr is what the other side calls itself.
func (st *Stream) RemoteAddr() net.Addr { return streamAddr(st.s.PeerName()) }

type streamAddr string

func (streamAddr) Network() string  { return "session" }
func (a streamAddr) String() string { return string(a) }
