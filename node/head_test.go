package node

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
)

// A node may call between the loss of its head and the notice of it: the next
// head does not take the call, and is asked again.
func TestACallThatComesBeforeTheRegistrationIsMadeAgain(t *testing.T) {
	near, far := net.Pipe()
	var asked atomic.Int32
	head := wire.NewPeer(wire.NewConnLink(far, 0), wire.PeerOptions{})
	head.HandleRest(func(context.Context, *wire.Request) (any, []byte, error) {
		if asked.Add(1)%3 != 0 {
			return nil, nil, &spec.ErrorInfo{Type: wire.ErrNotRegistered, Message: "this node has not registered"}
		}
		return 41, nil, nil
	})
	head.Start()
	d := withoutHead(t, spec.JobID{1})
	d.head = &headLink{d: d, ready: make(chan struct{}), peer: wire.NewPeer(wire.NewConnLink(near, 0), wire.PeerOptions{})}
	close(d.head.ready)
	d.head.peer.Start()
	t.Cleanup(func() { _, _ = d.head.peer.Close(), head.Close() })

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := 0
	if _, err := d.head.call(ctx, "kv.get", nil, &got, nil); err != nil || got != 41 {
		t.Errorf("a call that waits: %d, %v", got, err)
	}
	answer := make(chan error, 1)
	d.head.async("kv.get", nil, nil, func(r wire.Reply, err error) {
		if err == nil {
			err = r.Err()
		}
		answer <- err
	})
	select {
	case err := <-answer:
		if err != nil {
			t.Error("a call that does not wait:", err)
		}
	case <-ctx.Done():
		t.Error("a call that does not wait was not made again")
	}
}
