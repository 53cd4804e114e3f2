package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

// streamPair is both ends of a stream, and what cuts its connections.
func streamPair(t *testing.T, grace time.Duration) (near, far *Stream, b *breaker) {
	t.Helper()
	accepted := make(chan *Stream, 1)
	ln, err := Listen("127.0.0.1:0", testAuth)
	if err != nil {
		t.Fatal(err)
	}
	table := &Sessions{Self: "far", Grace: grace, Silence: time.Minute, Accept: func(s *Session, _ string) error {
		accepted <- NewStream(s)
		return nil
	}}
	ln.Serve(Handlers{Client: table})
	b = &breaker{}
	s, err := DialSession(t.Context(), DialOptions{
		Dialer: Dialer{Auth: testAuth, Connect: b.connect}, Kind: KindClient, Self: "near",
		Address: func() string { return ln.Addr().String() }, MinBackoff: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	near, far = NewStream(s), <-accepted
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
		_ = ln.Close()
		table.Close()
	})
	return near, far, b
}

// arrivals tells that something was read.
type arrivals chan struct{}

func (a arrivals) Write(p []byte) (int, error) {
	select {
	case a <- struct{}{}:
	default:
	}
	return len(p), nil
}

func TestStreamSurvivesCuts(t *testing.T) {
	near, far, b := streamPair(t, 0)
	data := make([]byte, 12<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	ctx, cancel := context.WithCancel(t.Context())
	cutting := make(chan struct{})
	arrived := make(arrivals, 1)
	go func() {
		defer close(cutting)
		for ctx.Err() == nil {
			b.cut()
			// A connection that is cut before it has carried anything would be
			// cut for ever where making one takes long.
			select {
			case <-arrived:
			case <-ctx.Done():
			}
		}
	}()
	sent := make(chan error, 2)
	for _, end := range []*Stream{near, far} {
		go func() {
			var err error
			for rest := data; len(rest) > 0 && err == nil; {
				n := min(len(rest), 1+rand.IntN(3*pieceSize))
				_, err = end.Write(rest[:n])
				rest = rest[n:]
			}
			sent <- err
		}()
	}
	sums := make(chan [32]byte, 2)
	for _, end := range []*Stream{near, far} {
		go func() {
			got := make([]byte, len(data))
			if _, err := io.ReadFull(io.TeeReader(end, arrived), got); err != nil {
				t.Error(err)
			}
			sums <- sha256.Sum256(got)
		}()
	}
	for range 2 {
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if <-sums != sha256.Sum256(data) {
			t.Fatal("other bytes arrived than were sent")
		}
	}
	cancel()
	<-cutting
}

func TestStreamEndsWithTheOtherSide(t *testing.T) {
	near, far, _ := streamPair(t, 0)
	if _, err := near.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, []byte("last words")) {
		t.Fatalf("%q, %v", got, err)
	}
}

// A writer waits for a reader that takes nothing, and no longer than it was told.
func TestStreamHoldsTheWriterBack(t *testing.T) {
	near, far, _ := streamPair(t, 0)
	wrote := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			_, err = near.Write(make([]byte, 1<<20))
		}
		wrote <- err
	}()
	until(t, "the window to fill", func() bool { return near.s.Queued() >= streamWindow })
	if q := near.s.Queued(); q > streamWindow+2*pieceSize {
		t.Errorf("%d bytes are queued", q)
	}
	if err := near.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	_ = far
}

// The side that waits for the other gives up when the grace is over.
func TestStreamIsLostAfterTheGrace(t *testing.T) {
	near, far, _ := streamPair(t, 50*time.Millisecond)
	if _, err := near.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	near.s.mu.Lock()
	near.s.end(ErrClosed, false) // as if the process were killed
	near.s.mu.Unlock()
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, ErrLost) {
		t.Fatal(err)
	}
	var _ net.Conn = near
}
