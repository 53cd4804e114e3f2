package wire

import (
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"time"

	"ray/internal/spec"
)

// DialOptions say how a session is dialled.
type DialOptions struct {
	Dialer Dialer
	// Address is asked before each attempt.
	Address func() string
	// Kind is KindSession (also 0) or KindClient.
	Kind byte
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
	kind := o.Kind
	if kind == 0 {
		kind = KindSession
	}
	conn, err := o.Dialer.Dial(ctx, address, kind)
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
