package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ray/internal/spec"
)

// unixPair makes two connected Unix sockets.
func unixPair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestOutNeverWaitsForASlowReader(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"socket": func(c net.Conn) net.Conn { return c },
		"stream": func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }, // as TLS: no descriptor
	} {
		a, b := unixPair(t)
		o := NewOut(wrap(a))
		const frames, body = 4000, 2000
		for i := range frames { // nobody reads yet, and this must not block
			if err := o.Send(AppendFrame(nil, Frame{Type: TNote, Aux: uint16(i), Body: bytes.Repeat([]byte{byte(i)}, body)})); err != nil {
				t.Fatal(err)
			}
		}
		if o.Pending() == 0 {
			t.Errorf("%s: nothing is pending", name)
		}
		r := NewReader(b, 0)
		for i := range frames {
			f, err := r.Next()
			if err != nil || f.Aux != uint16(i) || len(f.Body) != body || f.Body[body-1] != byte(i) {
				t.Fatalf("%s: frame %d: %+v %v", name, i, f.Aux, err)
			}
		}
		if err := o.Close(time.Second); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = a.Close()
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: after the end: %v", name, err)
		}
		_ = b.Close()
	}
}

func TestOutReportsALostConnection(t *testing.T) {
	a, b := unixPair(t)
	o := NewOut(a)
	_ = b.Close()
	frame := AppendFrame(nil, Frame{Type: TNote, Body: make([]byte, 1000)})
	until(t, "an error", func() bool { return o.Send(frame) != nil })
	if err := o.Send(frame); err == nil || o.Err() == nil {
		t.Error("the error is forgotten")
	}
	_ = o.Close(0)
	_ = a.Close()
}

func TestOutCloseGivesUpOnADeafPeer(t *testing.T) {
	a, b := unixPair(t)
	o := NewOut(a)
	_ = o.Send(make([]byte, 8<<20))
	start := time.Now()
	if err := o.Close(50 * time.Millisecond); err == nil {
		t.Error("eight unread megabytes were sent")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	_, _ = a.Close(), b.Close()
}

// peers makes two peers of one connection.
func peers(t *testing.T, ao, bo PeerOptions) (*Peer, *Peer) {
	a, b := unixPair(t)
	return NewPeer(NewConnLink(a, 0), ao), NewPeer(NewConnLink(b, 0), bo)
}

func TestCalls(t *testing.T) {
	a, b := peers(t, PeerOptions{}, PeerOptions{})
	release := make(chan struct{})
	b.Handle("slow", func(ctx context.Context, _ *Request) (any, []byte, error) { <-release; return "slow", nil, nil })
	b.HandleInline("fast", func(_ context.Context, r *Request) (any, []byte, error) {
		return r.JSON, []byte("tail:" + string(r.Tail)), nil
	})
	b.Handle("info", func(context.Context, *Request) (any, []byte, error) {
		return nil, nil, fmt.Errorf("wrapped: %w", &spec.ErrorInfo{Type: "ValueError", Message: "no"})
	})
	b.Handle("back", func(ctx context.Context, r *Request) (any, []byte, error) {
		var out string
		_, err := r.Peer.Call(ctx, "hello", nil, &out, nil)
		return out, nil, err
	})
	a.Handle("hello", func(context.Context, *Request) (any, []byte, error) { return "from a", nil, nil })
	b.HandleRest(func(_ context.Context, r *Request) (any, []byte, error) {
		if r.Method == "rest" {
			return r.Method, nil, nil
		}
		return nil, nil, errors.New("plain")
	})
	a.Start()
	b.Start()
	slow := make(chan error, 1)
	go func() { _, err := a.Call(t.Context(), "slow", nil, nil, nil); slow <- err }()
	var got struct{ X int }
	tail, err := a.Call(t.Context(), "fast", struct{ X int }{3}, &got, []byte("t"))
	if err != nil || got.X != 3 || string(tail) != "tail:t" {
		t.Errorf("fast: %+v %q %v", got, tail, err)
	}
	var info *spec.ErrorInfo
	if _, err = a.Call(t.Context(), "info", nil, nil, nil); !errors.As(err, &info) || info.Type != "ValueError" {
		t.Errorf("info: %v", err)
	}
	if _, err = a.Call(t.Context(), "other", nil, nil, nil); !errors.As(err, &info) || info.Type != "RaySystemError" {
		t.Errorf("other: %v", err)
	}
	var raw json.RawMessage
	if _, err = a.Call(t.Context(), "rest", nil, &raw, nil); err != nil || string(raw) != `"rest"` {
		t.Errorf("rest: %s %v", raw, err)
	}
	var back string
	if _, err = a.Call(t.Context(), "back", nil, &back, nil); err != nil || back != "from a" {
		t.Errorf("back: %q %v", back, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = a.Call(ctx, "slow", nil, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Errorf("slow: %v", err)
	}
	_ = a.Close()
	_ = b.Close()
}

func TestNotesStayInOrderAndCallsFailAtTheEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	var closed atomic.Int32
	opts := PeerOptions{Closed: func(error) { closed.Add(1) }}
	a, b := peers(t, opts, opts)
	var mu sync.Mutex
	var seen []int
	b.Handle("n", func(_ context.Context, r *Request) (any, []byte, error) {
		var i int
		err := r.Decode(&i)
		mu.Lock()
		seen = append(seen, i)
		mu.Unlock()
		return nil, nil, err
	})
	b.Handle("hang", func(ctx context.Context, _ *Request) (any, []byte, error) { <-ctx.Done(); return nil, nil, ctx.Err() })
	a.Start()
	b.Start()
	for i := range 500 {
		if err := a.Notify("n", i, nil); err != nil {
			t.Fatal(err)
		}
	}
	hung := make(chan error, 1)
	go func() { _, err := a.Call(context.Background(), "hang", nil, nil, nil); hung <- err }()
	until(t, "all notes", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 500 })
	for i, v := range seen {
		if i != v {
			t.Fatalf("note %d came as %d", v, i)
		}
	}
	_ = b.Close()
	if err := <-hung; err == nil {
		t.Error("a call survived its link")
	}
	_ = a.Close()
	if err := a.Notify("n", 1, nil); err == nil {
		t.Error("a closed peer sends")
	}
	if closed.Load() != 2 {
		t.Errorf("Closed was called %d times", closed.Load())
	}
	until(t, "no goroutine left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestSessionsLeaveNothing(t *testing.T) {
	countFDs := func() int { e, _ := os.ReadDir("/proc/self/fd"); return len(e) }
	goroutines, fds := runtime.NumGoroutine(), countFDs()
	h := newHost(t, "127.0.0.1:0", testAuth)
	for range 3 {
		s, err := DialSession(t.Context(), DialOptions{Dialer: Dialer{Auth: testAuth}, Address: func() string { return h.ln.Addr().String() }})
		if err != nil {
			t.Fatal(err)
		}
		p := NewPeer(s, PeerOptions{})
		p.Start()
		if _, err := p.Call(t.Context(), "echo", nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		_ = p.Close()
	}
	h.close()
	until(t, "no goroutine or descriptor left", func() bool { return runtime.NumGoroutine() <= goroutines && countFDs() <= fds })
}

func TestGraceEndsAnAbandonedSession(t *testing.T) {
	h := newHost(t, "127.0.0.1:0", testAuth)
	defer h.close()
	h.tab.Grace = 20 * time.Millisecond
	ended := make(chan error, 1)
	accept := h.tab.Accept
	h.tab.Accept = func(s *Session, peer string) error {
		if peer != "n7" {
			return accept(s, peer)
		}
		p := NewPeer(s, PeerOptions{Closed: func(err error) { ended <- err }})
		h.mu.Lock()
		h.ps = append(h.ps, p)
		h.mu.Unlock()
		p.Start()
		return nil
	}
	conn, err := Dialer{Auth: testAuth}.Dial(t.Context(), h.ln.Addr().String(), KindSession)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write(AppendJSON(nil, THello, sessionHello{Session: newSessionID(), Peer: "n7", New: true}))
	if f, err := NewReader(conn, 0).Next(); err != nil || f.Type != THelloOK {
		t.Fatalf("%v %v", f, err)
	}
	_ = conn.Close()
	if err := <-ended; !errors.Is(err, ErrLost) {
		t.Errorf("ended with %v", err)
	}
}
