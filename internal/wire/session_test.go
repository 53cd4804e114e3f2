package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// host is a listener with sessions whose peers echo.
type host struct {
	ln   *Listener
	tab  *Sessions
	mu   sync.Mutex
	ps   []*Peer
	seen []string
}

func newHost(t *testing.T, address string, auth Auth) *host {
	t.Helper()
	h := &host{}
	ln, err := Listen(address, auth)
	if err != nil {
		t.Fatal(err)
	}
	h.ln = ln
	h.tab = &Sessions{Self: "head", Accept: func(s *Session, peer string) error {
		p := NewPeer(s, PeerOptions{})
		p.Handle("echo", func(_ context.Context, r *Request) (any, []byte, error) { return r.JSON, r.Tail, nil })
		p.Handle("note", func(_ context.Context, r *Request) (any, []byte, error) {
			h.mu.Lock()
			h.seen = append(h.seen, string(r.JSON))
			h.mu.Unlock()
			return nil, nil, nil
		})
		h.mu.Lock()
		h.ps = append(h.ps, p)
		h.mu.Unlock()
		p.Start()
		return nil
	}}
	ln.Serve(Handlers{Sessions: h.tab, Relay: func(c net.Conn) { _, _ = io.Copy(c, c) }})
	return h
}

func (h *host) close() {
	_ = h.ln.Close()
	h.tab.Close()
	h.mu.Lock()
	ps := h.ps
	h.mu.Unlock()
	for _, p := range ps {
		_ = p.Close()
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("gave up waiting: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var testAuth = Auth{Token: strings.Repeat("ab", 32)}

// breaker is a Connect that remembers connections so that a test can cut them.
type breaker struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (b *breaker) connect(ctx context.Context, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err == nil {
		b.mu.Lock()
		b.conns = append(b.conns, c)
		b.mu.Unlock()
	}
	return c, err
}

func (b *breaker) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		_ = c.Close()
	}
	b.conns = nil
}

func TestSessionSurvivesBrokenConnections(t *testing.T) {
	for _, auth := range []Auth{testAuth, {Disabled: true}} {
		h := newHost(t, "127.0.0.1:0", auth)
		b := &breaker{}
		s, err := DialSession(t.Context(), DialOptions{
			Dialer: Dialer{Auth: auth, Connect: b.connect}, Self: "n1",
			Address: func() string { return h.ln.Addr().String() }, MinBackoff: time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		p := NewPeer(s, PeerOptions{Reset: func(context.Context) { t.Error("the session was reset") }})
		p.Start()
		const n = 2000
		for i := range n {
			if err := p.Notify("note", i, []byte(strings.Repeat("x", 500))); err != nil {
				t.Fatal(err)
			}
			if i%200 == 100 {
				b.cut()
				var got int
				if _, err := p.Call(t.Context(), "echo", i, &got, nil); err != nil || got != i {
					t.Fatalf("call %d: %d %v", i, got, err)
				}
			}
		}
		until(t, "all notes", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.seen) >= n })
		for i, v := range h.seen {
			if v != fmt.Sprint(i) {
				t.Fatalf("note %d is %s", i, v)
			}
		}
		until(t, "acknowledgement", func() bool { return s.Queued() == 0 })
		if s.PeerName() != "head" {
			t.Errorf("peer is %q", s.PeerName())
		}
		_ = p.Close()
		until(t, "the table to forget the session", func() bool { h.tab.mu.Lock(); defer h.tab.mu.Unlock(); return len(h.tab.byID) == 0 })
		h.close()
	}
}

func TestSessionResetWhenForgotten(t *testing.T) {
	h := newHost(t, "127.0.0.1:0", testAuth)
	address := h.ln.Addr().String()
	s, err := DialSession(t.Context(), DialOptions{
		Dialer: Dialer{Auth: testAuth}, Self: "n1", Address: func() string { return address }, MinBackoff: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	reset := make(chan struct{}, 8)
	p := NewPeer(s, PeerOptions{Reset: func(context.Context) { reset <- struct{}{} }})
	p.Start()
	if _, err := p.Call(t.Context(), "echo", 1, nil, nil); err != nil {
		t.Fatal(err)
	}
	_ = h.ln.Close()
	h.tab.Drop()
	h2 := newHost(t, address, testAuth)
	<-reset
	until(t, "a call on the new session", func() bool {
		_, err := p.Call(t.Context(), "echo", 2, nil, nil)
		return err == nil
	})
	_ = p.Close()
	h2.close()
	h.close()
}

func TestEndOfSessionIsTold(t *testing.T) {
	h := newHost(t, "127.0.0.1:0", testAuth)
	s, err := DialSession(t.Context(), DialOptions{Dialer: Dialer{Auth: testAuth}, Address: func() string { return h.ln.Addr().String() }})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	p := NewPeer(s, PeerOptions{Closed: func(err error) { closed <- err }})
	p.Start()
	if _, err := p.Call(t.Context(), "echo", 1, nil, nil); err != nil {
		t.Fatal(err)
	}
	h.close()
	if err := <-closed; !errors.Is(err, ErrEnded) {
		t.Errorf("closed with %v", err)
	}
	if _, err := p.Call(t.Context(), "echo", 1, nil, nil); err == nil {
		t.Error("a call on an ended session succeeded")
	}
	_ = p.Close()
}

func TestWrongToken(t *testing.T) {
	h := newHost(t, "127.0.0.1:0", testAuth)
	defer h.close()
	_, err := DialSession(t.Context(), DialOptions{
		Dialer: Dialer{Auth: Auth{Token: strings.Repeat("cd", 32)}}, Address: func() string { return h.ln.Addr().String() },
	})
	var auth *AuthError
	if !errors.As(err, &auth) {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "cdcd") {
		t.Error("the token is in the error")
	}
	_, err = Dialer{Auth: testAuth}.Dial(t.Context(), h.ln.Addr().String(), KindBulk)
	if err == nil || !strings.Contains(err.Error(), "serves no connections") {
		t.Errorf("a kind without a handler: %v", err)
	}
	_, err = Dialer{Auth: Auth{Disabled: true}}.Dial(t.Context(), h.ln.Addr().String(), KindClient)
	if err == nil {
		t.Error("a plain connection to a TLS listener was admitted")
	}
}

func TestListenerRefusesOpenAddressWithoutToken(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0"} {
		if ln, err := Listen(address, Auth{Disabled: true}); err == nil {
			_ = ln.Close()
			t.Errorf("%s was bound without a token", address)
		}
	}
}

func TestRelayedConnection(t *testing.T) {
	h := newHost(t, "127.0.0.1:0", testAuth)
	defer h.close()
	c, err := Dialer{Auth: testAuth}.Dial(t.Context(), h.ln.Addr().String(), KindClient)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Fatalf("%q %v", b, err)
	}
}
