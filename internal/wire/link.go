package wire

import (
	"io"
	"net"
	"sync"
	"time"
)

// Link carries whole frames in order, both ways. A Session is one that
// outlives its connections; NewConnLink makes one of a single connection.
type Link interface {
	// Send queues one or more whole encoded frames. It keeps no reference to
	// b and never waits for the other side.
	Send(b []byte) error
	// Run delivers frames, from the calling goroutine, until the link ends,
	// and says why; nil after Close. A body is valid only inside the call.
	// reset is called when the other side has forgotten the session and a new
	// one begins: what was in flight is lost. Run is called once.
	Run(frame func(Frame), reset func()) error
	// Close ends the link and waits for its goroutines; what was sent is
	// given a moment to leave.
	Close() error
}

// closeGrace is how long Close tries to send what is queued.
const closeGrace = 500 * time.Millisecond

// connLink is a Link of one connection.
type connLink struct {
	conn net.Conn
	out  *Out
	in   *Reader
	once sync.Once
	quit chan struct{}
}

// NewConnLink makes a link of conn, which it then owns. Frames are at most
// limit bytes (0: MaxFrame).
func NewConnLink(conn net.Conn, limit int) Link {
	return &connLink{conn: conn, out: NewOut(conn), in: NewReader(conn, limit), quit: make(chan struct{})}
}

func (l *connLink) Send(b []byte) error { return l.out.Send(b) }

func (l *connLink) Run(frame func(Frame), _ func()) error {
	for {
		f, err := l.in.Next()
		if err != nil {
			select {
			case <-l.quit:
				return nil
			default:
			}
			if err == io.EOF {
				return ErrClosed
			}
			return err
		}
		frame(f)
	}
}

func (l *connLink) Close() error {
	l.once.Do(func() {
		close(l.quit)
		_ = l.out.Close(closeGrace) // an error here is the connection's, and Run tells it
		_ = l.conn.Close()
	})
	return nil
}
