package wire

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"sync"
	"time"

	"ray/internal/spec"
)

// sessionHello is the HELLO of a session, and sessionOK its answer.
type sessionHello struct {
	Session  string `json:"session"`
	Peer     string `json:"peer"`
	Received uint64 `json:"received"`
	New      bool   `json:"new,omitempty"` // the dialler has never been welcomed with this id
}

type sessionOK struct {
	Received uint64 `json:"received"`
	Peer     string `json:"peer"`
	Unknown  bool   `json:"unknown,omitempty"`
	// Grace is how long the session waits for the next connection, in seconds; 0: for ever.
	Grace float64 `json:"grace_s,omitempty"`
}

func newSessionID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Sessions is a listener's table of sessions.
type Sessions struct {
	// Self is what we call ourselves.
	Self string
	// Accept gets each new session; it must make a Peer of it and start that,
	// or call Run. An error refuses the session.
	Accept func(s *Session, peer string) error
	// Grace is how long a session may be without a connection before it ends
	// with ErrLost; 0 means for ever (until Close).
	Grace time.Duration
	// Silence is how long the other side may say nothing before its
	// connection counts as gone; 0: 12 s. With a longer one the kernel watches
	// over dead machines and links, so that a process that is stopped, or
	// busy, keeps its connection.
	Silence time.Duration

	mu     sync.Mutex
	byID   map[string]*accepted
	closed bool
}

// accepted is a session and the connection that waits for its Run.
type accepted struct {
	*Session
	mail  chan handed
	grace time.Duration
}

type handed struct {
	c        *carrier
	received uint64
}

// serve reads the HELLO of a session's connection and gives the connection to
// the session. It tells whether the connection was kept; own is called just
// before, so that from there on only the session ends it.
func (t *Sessions) serve(conn net.Conn, own func()) bool {
	_ = conn.SetDeadline(time.Now().Add(helloTimeout))
	in := NewReader(conn, HelloLimit)
	f, err := in.Next()
	var hello sessionHello
	if err != nil || f.Type != THello || DecodeJSON(THello, f.Body, &hello) != nil || hello.Session == "" {
		return false
	}
	in.SetLimit(0)
	a, err := t.find(hello)
	if err != nil {
		_, _ = conn.Write(AppendJSON(nil, TFatal, InfoOf(err)))
		return false
	}
	if a == nil {
		_, _ = conn.Write(AppendJSON(nil, THelloOK, sessionOK{Unknown: true, Peer: t.Self}))
		return false
	}
	_ = conn.SetDeadline(time.Time{})
	if a.quiet > deadAfter {
		watch(conn)
	}
	own()
	return a.hand(handed{newCarrier(conn, in), hello.Received})
}

// find returns the session that hello names, a new one, or nil if it is
// neither known nor new.
func (t *Sessions) find(hello sessionHello) (*accepted, error) {
	t.mu.Lock()
	a := t.byID[hello.Session]
	if a != nil || !hello.New {
		t.mu.Unlock()
		return a, nil
	}
	if t.closed {
		t.mu.Unlock()
		return nil, &spec.ErrorInfo{Type: "ConnectionError", Message: "this process is stopping"}
	}
	a = &accepted{newSession(hello.Session, t.Self), make(chan handed, 1), t.Grace}
	a.peer = hello.Peer
	if t.Silence > 0 {
		a.quiet = t.Silence
	}
	a.next = func() (*carrier, error) { return a.await(t.Grace) }
	a.onEnd = func() { t.forget(hello.Session) }
	if t.byID == nil {
		t.byID = map[string]*accepted{}
	}
	t.byID[hello.Session] = a
	t.mu.Unlock()
	if err := t.Accept(a.Session, hello.Peer); err != nil {
		t.forget(hello.Session)
		return nil, err
	}
	return a, nil
}

func (t *Sessions) forget(id string) {
	t.mu.Lock()
	a := t.byID[id]
	delete(t.byID, id)
	t.mu.Unlock()
	if a == nil {
		return
	}
	select { // a connection that came too late
	case h := <-a.mail:
		h.c.close()
	default:
	}
}

// hand gives a connection to the session in place of the one that it has.
func (a *accepted) hand(h handed) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return false
	}
	if a.cur != nil {
		a.cur.close()
	}
	select {
	case old := <-a.mail:
		old.c.close()
	default:
	}
	a.mail <- h
	return true
}

// await is the acceptor's way to the next connection.
func (a *accepted) await(grace time.Duration) (*carrier, error) {
	var over <-chan time.Time
	if grace > 0 {
		t := time.NewTimer(grace)
		defer t.Stop()
		over = t.C
	}
	for {
		select {
		case h := <-a.mail:
			if a.welcome(h) {
				return h.c, nil
			}
			h.c.close()
		case <-a.ctx.Done():
			return nil, ErrClosed
		case <-over:
			return nil, ErrLost
		}
	}
}

// welcome answers HELLO now that no earlier connection is being read.
func (a *accepted) welcome(h handed) bool {
	a.mu.Lock()
	ok := sessionOK{Received: a.received, Peer: a.self, Grace: a.grace.Seconds()}
	a.mu.Unlock()
	_ = h.c.conn.SetWriteDeadline(time.Now().Add(helloTimeout))
	if _, err := h.c.conn.Write(AppendJSON(nil, THelloOK, ok)); err != nil {
		return false
	}
	_ = h.c.conn.SetWriteDeadline(time.Time{})
	return a.attach(h.c, h.received) == nil
}

// Drop ends every session on this side only, as the death of the process
// would: the others dial again and start anew with whoever listens then. For a
// process that is to be replaced, before its peers are closed.
func (t *Sessions) Drop() {
	for _, a := range t.shut() {
		a.mu.Lock()
		a.end(ErrClosed, false)
		a.mu.Unlock()
	}
}

// shut stops accepting and lists what there is.
func (t *Sessions) shut() []*accepted {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	all := make([]*accepted, 0, len(t.byID))
	for _, a := range t.byID {
		all = append(all, a)
	}
	return all
}

// Close ends every session and accepts no more. Peers on top of them see
// their link end; closing those is their owners' part.
func (t *Sessions) Close() {
	var wg sync.WaitGroup
	for _, a := range t.shut() {
		wg.Go(func() { _ = a.Session.Close() })
	}
	wg.Wait()
}
