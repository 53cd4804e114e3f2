package wire

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// benchSession is a session over loopback TLS whose other side counts frames.
func benchSession(b *testing.B, got *atomic.Int64) (*Session, func()) {
	ln, err := Listen("127.0.0.1:0", testAuth)
	if err != nil {
		b.Fatal(err)
	}
	var other *Peer
	tab := &Sessions{Accept: func(s *Session, _ string) error {
		other = NewPeer(s, PeerOptions{Frames: func(Frame) { got.Add(1) }})
		other.HandleInline("echo", func(_ context.Context, r *Request) (any, []byte, error) { return nil, r.Tail, nil })
		other.Start()
		return nil
	}}
	ln.Serve(Handlers{Sessions: tab})
	s, err := DialSession(b.Context(), DialOptions{Dialer: Dialer{Auth: testAuth}, Address: func() string { return ln.Addr().String() }})
	if err != nil {
		b.Fatal(err)
	}
	return s, func() { _ = ln.Close(); tab.Close(); _ = other.Close() }
}

func BenchmarkSessionFrames(b *testing.B) {
	var got atomic.Int64
	s, stop := benchSession(b, &got)
	p := NewPeer(s, PeerOptions{})
	p.Start()
	frame := (&Submit{Payload: make([]byte, 60)}).Append(nil)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := s.Send(frame); err != nil {
			b.Fatal(err)
		}
		for int64(i)-got.Load() > 10000 {
			time.Sleep(20 * time.Microsecond)
		}
	}
	for got.Load() < int64(b.N) {
		time.Sleep(20 * time.Microsecond)
	}
	b.StopTimer()
	_ = p.Close()
	stop()
}

func BenchmarkSessionBulk(b *testing.B) {
	var got atomic.Int64
	s, stop := benchSession(b, &got)
	p := NewPeer(s, PeerOptions{})
	p.Start()
	frame := AppendFrame(nil, Frame{Type: TObj, Body: make([]byte, 1<<20)})
	b.SetBytes(int64(len(frame)))
	b.ResetTimer()
	for i := range b.N {
		if err := s.Send(frame); err != nil {
			b.Fatal(err)
		}
		for int64(i)-got.Load() > 16 {
			time.Sleep(20 * time.Microsecond)
		}
	}
	for got.Load() < int64(b.N) {
		time.Sleep(20 * time.Microsecond)
	}
	b.StopTimer()
	_ = p.Close()
	stop()
}

func BenchmarkCall(b *testing.B) {
	var got atomic.Int64
	s, stop := benchSession(b, &got)
	p := NewPeer(s, PeerOptions{})
	p.Start()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if _, err := p.Call(b.Context(), "echo", nil, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	_ = p.Close()
	stop()
}
