package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Session errors.
var (
	// ErrEnded: the other side closed the session on purpose.
	ErrEnded = errors.New("the other side has ended the session")
	// ErrLost: no connection came back within the grace.
	ErrLost = errors.New("the session's connection did not come back in time")
	// ErrOverflow: more is unacknowledged than may be kept.
	ErrOverflow = errors.New("the other side takes nothing and too much is queued for it")
)

const (
	dataOverhead = HeaderSize + 8
	chunkSize    = 64 << 10
	ackBytes     = 256 << 10 // acknowledge at once after so many bytes …
	ackFrames    = 512       // … or frames …
	ackDelay     = 40 * time.Millisecond
	pingEvery    = 3 * time.Second  // an ACK at least so often
	deadAfter    = 12 * time.Second // silence that means that the connection is gone
	maxQueued    = 2 << 30
)

// chunk is part of the unacknowledged stream: encoded DATA frames.
type chunk struct {
	buf  []byte
	last uint64 // number of its last frame
}

// Session is a Link between two machines that outlives its connections:
// frames are numbered, acknowledged cumulatively, sent again after a
// reconnect and dropped if already seen. One side dials (DialSession), the
// other accepts (Sessions).
type Session struct {
	self  string
	next  func() (*carrier, error) // waits for the next connection
	onEnd func()                   // the table forgets it
	state func(up bool, err error) // may be nil
	quiet time.Duration            // silence that means that the connection is gone
	moved chan struct{}            // a token when acknowledgements made room

	mu       sync.Mutex
	id       string
	peer     string
	sent     uint64   // number of the newest frame queued
	acked    uint64   // the other side has all up to here
	received uint64   // we have all up to here
	chunks   []*chunk // unacknowledged, oldest first
	queued   int      // bytes in chunks
	at, off  int      // what the writer sends next: chunk and offset
	cur      *carrier
	err      error           // why it ended; nil while it lives
	mine     bool            // ended by Close here
	ctx      context.Context // done once it ended
	cancel   context.CancelFunc
}

func newSession(id, self string) *Session {
	s := &Session{id: id, self: self, quiet: deadAfter, moved: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// PeerName is what the other side calls itself: a node id or "head".
func (s *Session) PeerName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer
}

// Up tells whether a connection carries the session right now.
func (s *Session) Up() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur != nil
}

// Queued is the bytes that the other side has not acknowledged.
func (s *Session) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

// Send queues whole encoded frames; see Link.
func (s *Session) Send(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for len(b) > 0 {
		_, n, err := ParseFrame(b, MaxFrame-dataOverhead)
		if err != nil || n == 0 {
			return fmt.Errorf("send on a session: %w: not a whole frame", ErrMalformed)
		}
		s.push(b[:n])
		b = b[n:]
	}
	if s.queued > maxQueued {
		s.end(ErrOverflow, false)
		return s.err
	}
	if s.cur != nil {
		s.cur.kick()
	}
	return nil
}

// push appends one inner frame as DATA. Needs mu.
func (s *Session) push(inner []byte) {
	need := dataOverhead + len(inner)
	var c *chunk
	if n := len(s.chunks); n > 0 && cap(s.chunks[n-1].buf)-len(s.chunks[n-1].buf) >= need {
		c = s.chunks[n-1]
	} else {
		size := chunkSize
		if n == 0 {
			size = chunkSize / 8 // a quiet session acknowledges each one alone
		}
		c = &chunk{buf: make([]byte, 0, max(need, size))}
		s.chunks = append(s.chunks, c)
	}
	s.sent++
	b, at := Begin(c.buf, TData, 0, 0)
	b = le.AppendUint64(b, s.sent)
	c.buf = End(append(b, inner...), at)
	c.last = s.sent
	s.queued += need
}

// ack drops what the other side has. Needs mu.
func (s *Session) ack(n uint64) {
	if n <= s.acked || n > s.sent {
		return
	}
	s.acked = n
	drop := 0
	for drop < len(s.chunks) && s.chunks[drop].last <= n {
		s.queued -= len(s.chunks[drop].buf)
		drop++
	}
	if drop == 0 {
		return
	}
	select {
	case s.moved <- struct{}{}:
	default:
	}
	kept := copy(s.chunks, s.chunks[drop:])
	clear(s.chunks[kept:])
	s.chunks = s.chunks[:kept]
	if s.at -= drop; s.at < 0 {
		s.at, s.off = 0, 0
	}
}

// rewind makes the writer start after frame n. Needs mu.
func (s *Session) rewind(n uint64) error {
	if n < s.acked || n > s.sent {
		return fmt.Errorf("%w: the other side says that it has frame %d of %d", ErrMalformed, n, s.sent)
	}
	s.ack(n)
	s.at, s.off = 0, 0
	if len(s.chunks) == 0 {
		return nil
	}
	b := s.chunks[0].buf
	for s.off < len(b) && le.Uint64(b[s.off+HeaderSize:]) <= n {
		s.off += int(le.Uint32(b[s.off:])) + 4
	}
	return nil
}

// end makes every later Send fail. Needs mu.
func (s *Session) end(err error, mine bool) {
	if s.err != nil {
		return
	}
	s.err, s.mine = err, mine
	s.cancel()
	if !mine {
		s.chunks, s.queued = nil, 0
	}
	if s.cur != nil {
		if mine {
			s.cur.kick() // the writer sends the rest, and END
		} else {
			s.cur.close()
		}
	}
}

// Run implements Link.
func (s *Session) Run(frame func(Frame), reset func()) error {
	defer func() {
		if s.onEnd != nil {
			s.onEnd()
		}
	}()
	for {
		c, err := s.next()
		if err == errUnknown {
			s.restart()
			reset()
			continue
		}
		if err != nil {
			s.mu.Lock()
			s.end(err, false)
			mine, err := s.mine, s.err
			s.mu.Unlock()
			if mine {
				return nil
			}
			return err
		}
		s.notify(true, nil)
		err = s.serve(c, frame)
		s.notify(false, err)
	}
}

// errUnknown: the other side does not know the session.
var errUnknown = errors.New("unknown session")

func (s *Session) notify(up bool, err error) {
	if s.state != nil {
		s.state(up, err)
	}
}

// restart begins a new session in place of one that the other side forgot.
func (s *Session) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = newSessionID()
	s.sent, s.acked, s.received = 0, 0, 0
	s.chunks, s.queued, s.at, s.off = nil, 0, 0, 0
}

// attach makes c the session's connection; the other side has all up to n.
func (s *Session) attach(c *carrier, n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rewind(n); err != nil {
		return err
	}
	c.ackSent = s.received
	s.cur = c
	c.kick()
	return nil
}

// serve reads c until it breaks, with a writer beside it.
func (s *Session) serve(c *carrier, frame func(Frame)) error {
	var writer sync.WaitGroup
	writer.Go(func() { s.write(c) })
	err := s.read(c, frame)
	s.mu.Lock()
	s.cur = nil
	if c.ackTimer != nil {
		c.ackTimer.Stop()
	}
	s.mu.Unlock()
	c.close()
	writer.Wait()
	return err
}
