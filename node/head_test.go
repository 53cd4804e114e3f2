package node

import (
	"context"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
)

// linked joins a daemon with what stands for its head.
func linked(t *testing.T, d *daemon, answer wire.Handler, methods ...string) {
	near, far := net.Pipe()
	head := wire.NewPeer(wire.NewConnLink(far, 0), wire.PeerOptions{})
	for _, method := range methods {
		head.HandleInline(method, answer) // in the order in which they come
	}
	head.Start()
	d.head = &headLink{d: d, ready: make(chan struct{}), peer: wire.NewPeer(wire.NewConnLink(near, 0), wire.PeerOptions{})}
	d.head.peer.Start()
	t.Cleanup(func() { _, _ = d.head.peer.Close(), head.Close() })
}

// A driver's end, or that of a job's entrypoint, is told to the next head if
// this one is gone, behind what was asked before it.
func TestWhatIsToldWhileTheHeadIsAwayComesInOrderWhenItIsBack(t *testing.T) {
	const n = 100
	told := make(chan string, n)
	d := withoutHead(t, spec.JobID{1})
	var want, got []string
	for i := range n {
		want = append(want, strconv.Itoa(i))
	}
	linked(t, d, func(_ context.Context, r *wire.Request) (any, []byte, error) {
		told <- r.Method
		return nil, nil, nil
	}, want...)
	for _, method := range want {
		d.head.tell(method, nil)
	}
	select {
	case method := <-told:
		t.Fatalf("%s was told to a head that does not know the node", method)
	default:
	}
	d.head.back()
	for range n {
		select {
		case method := <-told:
			got = append(got, method)
		case <-time.After(20 * time.Second):
			t.Fatalf("told: %v", got)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("told in the order %v", got)
	}
}

// A node may call between the loss of its head and the notice of it: the next
// head does not take the call, and is asked again.
func TestACallThatComesBeforeTheRegistrationIsMadeAgain(t *testing.T) {
	var asked atomic.Int32
	d := withoutHead(t, spec.JobID{1})
	linked(t, d, func(context.Context, *wire.Request) (any, []byte, error) {
		if asked.Add(1)%3 != 0 {
			return nil, nil, &spec.ErrorInfo{Type: wire.ErrNotRegistered, Message: "this node has not registered"}
		}
		return 41, nil, nil
	}, "kv.get")
	d.head.back()

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
