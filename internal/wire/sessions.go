package wire

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mrand "math/rand/v2"
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
}

func newSessionID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// DialOptions say how a session is dialled.
type DialOptions struct {
	Dialer Dialer
	// Address is asked before each attempt.
	Address func() string
	// Self is what we call ourselves: a node id or "head".
	Self string
	// State is told, from the goroutine of Run, when a connection begins or
	// ends, and of each failed attempt to get one. May be nil.
	State func(up bool, err error)
	// MinBackoff and MaxBackoff bound the pause between attempts; 0: 50 ms, 2 s.
	MinBackoff, MaxBackoff time.Duration
}

// DialSession opens a session. It tries until ctx ends, except that a wrong
// token (*AuthError) or a refusal ends it at once. Later connections are made
// by Run, for as long as the session lives.
func DialSession(ctx context.Context, o DialOptions) (*Session, error) {
	s := newSession(newSessionID(), o.Self)
	s.state = o.State
	fresh := true
	first, err := s.redial(ctx, o, &fresh, true)
	if err != nil {
		return nil, err
	}
	s.next = func() (*carrier, error) {
		if c := first; c != nil {
			first = nil
			return c, nil
		}
		c, err := s.redial(s.ctx, o, &fresh, false)
		if err == errUnknown {
			fresh = true
		}
		return c, err
	}
	return s, nil
}

// redial tries to get a connection until ctx or the session ends.
func (s *Session) redial(ctx context.Context, o DialOptions, fresh *bool, strict bool) (*carrier, error) {
	pause, limit := o.MinBackoff, o.MaxBackoff
	if pause <= 0 {
		pause = 50 * time.Millisecond
	}
	if limit <= 0 {
		limit = 2 * time.Second
	}
	for {
		c, err := s.dialOnce(ctx, o, *fresh)
		if err == nil {
			*fresh = false
			return c, nil
		}
		if err == errUnknown {
			return nil, err
		}
		var auth *AuthError
		var info *spec.ErrorInfo
		if strict && (errors.As(err, &auth) || errors.As(err, &info)) {
			return nil, err
		}
		if ctx.Err() == nil {
			s.notify(false, err)
		}
		t := time.NewTimer(pause + mrand.N(pause/2+1))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), err)
		case <-t.C:
		}
		pause = min(2*pause, limit)
	}
}

func (s *Session) dialOnce(ctx context.Context, o DialOptions, fresh bool) (*carrier, error) {
	address := o.Address()
	conn, err := o.Dialer.Dial(ctx, address, KindSession)
	if err != nil {
		return nil, err
	}
	c, err := s.greet(ctx, conn, address, fresh)
	if err != nil {
		_ = conn.Close()
	}
	return c, err
}

// greet resumes or begins the session on a new connection.
func (s *Session) greet(ctx context.Context, conn net.Conn, address string, fresh bool) (*carrier, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(helloTimeout))
	s.mu.Lock()
	hello := sessionHello{Session: s.id, Peer: s.self, Received: s.received, New: fresh}
	s.mu.Unlock()
	if _, err := conn.Write(AppendJSON(nil, THello, hello)); err != nil {
		return nil, fmt.Errorf("greet %s: %w", address, err)
	}
	c := newCarrier(conn, NewReader(conn, 0))
	f, err := c.in.Next()
	if err != nil {
		return nil, fmt.Errorf("greet %s: %w", address, err)
	}
	if f.Type == TFatal {
		var info spec.ErrorInfo
		if err := DecodeJSON(TFatal, f.Body, &info); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s refused the session: %w", address, &info)
	}
	var ok sessionOK
	if err := DecodeJSON(f.Type, f.Body, &ok); err != nil || f.Type != THelloOK {
		return nil, errors.Join(malformed(f.Type, "HELLO_OK was expected"), err)
	}
	if ok.Unknown {
		return nil, errUnknown
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	_ = conn.SetDeadline(time.Time{})
	s.mu.Lock()
	s.peer = ok.Peer
	s.mu.Unlock()
	return c, s.attach(c, ok.Received)
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

	mu     sync.Mutex
	byID   map[string]*accepted
	closed bool
}

// accepted is a session and the connection that waits for its Run.
type accepted struct {
	*Session
	mail chan handed
}

type handed struct {
	c        *carrier
	received uint64
}

// serve reads the HELLO of a session's connection and gives the connection to
// the session. It tells whether the connection was kept.
func (t *Sessions) serve(conn net.Conn) bool {
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
	a = &accepted{newSession(hello.Session, t.Self), make(chan handed, 1)}
	a.peer = hello.Peer
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
	ok := sessionOK{Received: a.received, Peer: a.self}
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
