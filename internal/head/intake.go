package head

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// nodeLink is the session with one node daemon. Its calls and notes are taken
// in the order in which they were sent, each under the head's lock; answers
// go out after what they promise is stored.
type nodeLink struct {
	wire.Link
	h    *Head
	peer *wire.Peer  // for calls to the node
	id   spec.NodeID // zero until it registers; under Head.mu
}

// request is a call or note of a node.
type request struct {
	link   *nodeLink
	from   spec.NodeID // who calls; zero before node.register
	method string
	body   json.RawMessage
	tail   []byte // valid inside the handler only
	id     uint32 // 0: a note
	later  bool   // the handler answers by itself
}

func (r *request) decode(v any) error {
	if err := json.Unmarshal(r.body, v); err != nil {
		return &spec.ErrorInfo{Type: "ValueError", Message: fmt.Sprintf("call %s: its arguments cannot be read: %v", r.method, err)}
	}
	return nil
}

// reply answers a call; it does nothing for a note. It never blocks.
func (r *request) reply(out any, tail []byte, err error) {
	if r.id != 0 {
		_ = r.link.Send(wire.AppendReply(nil, r.id, out, tail, err)) // a lost link has lost its callers too
	}
}

// keepTail copies the tail for use after the handler.
func (r *request) keepTail() []byte { return append([]byte{}, r.tail...) }

// handler takes a request under the head's lock: it must not block. A handler
// that sets later answers by itself.
type handler func(h *Head, r *request) (out any, change gcs.Change, err error)

// Run implements wire.Link: calls and notes go to the head, the rest (answers)
// to the peer that made this link its own.
func (l *nodeLink) Run(frame func(wire.Frame), reset func()) error {
	return l.Link.Run(func(f wire.Frame) {
		if f.Type != wire.TCall && f.Type != wire.TNote {
			frame(f)
			return
		}
		var c wire.Call
		if err := c.Decode(f.Body); err != nil {
			l.h.log.Warn("a node sent a frame that cannot be read", "err", err)
			return
		}
		l.h.take(l, &c)
	}, reset)
}

// Accept serves one session with a node until it ends or the head closes. It
// returns at once. Tests give it in-memory links.
func (h *Head) Accept(link wire.Link) {
	l := &nodeLink{Link: link, h: h}
	l.peer = wire.NewPeer(l, wire.PeerOptions{Closed: func(err error) { h.linkEnded(l, err) }})
	h.mu.Lock()
	if h.closing {
		h.mu.Unlock()
		_ = link.Close()
		return
	}
	h.open[l] = true
	h.mu.Unlock()
	l.peer.Start()
}

// take runs on the reader of a link.
func (h *Head) take(l *nodeLink, c *wire.Call) {
	r := &request{link: l, method: string(c.Method), body: c.JSON, tail: c.Tail, id: c.ID}
	handle := methods[r.method]
	h.mu.Lock()
	defer h.mu.Unlock()
	r.from = l.id
	switch {
	case handle == nil:
		r.reply(nil, nil, &spec.ErrorInfo{Type: "RaySystemError", Message: fmt.Sprintf("not supported yet: call %q on the head", r.method)})
		return
	case r.from.IsZero() && !slices.Contains(openMethods, r.method):
		r.reply(nil, nil, &spec.ErrorInfo{Type: wire.ErrNotRegistered, Message: "call " + r.method + ": this node has not registered"})
		return
	}
	if n, ok := h.tables.Node(r.from); !r.from.IsZero() && (!ok || n.State == spec.NodeDead) && !slices.Contains(openMethods, r.method) {
		r.reply(nil, nil, &spec.ErrorInfo{Type: "NodeDiedError", Message: "call " + r.method + ": this node was declared dead and must join again"})
		return
	}
	out, change, err := handle(h, r)
	if err != nil && r.id == 0 {
		h.log.Warn("a note failed", "method", r.method, "node", r.from, "err", err)
	}
	h.commit(change, func(stored error) {
		if r.later && err == nil {
			return
		}
		if err == nil {
			err = stored
		}
		r.reply(out, nil, err)
	})
}

// openMethods may be called before registration, and by nodes that were
// declared dead. All but the first two are for commands, which hold the token
// and are no node.
var openMethods = []string{
	wire.MethodRegister, wire.MethodHeartbeat,
	"nodes.list", "node.drain", "actor.get", wire.MethodActorKill, "status", "autoscaler.request", wire.MethodCollect,
}

// commit queues a change, which was just made under h.mu. first runs before
// the change's effects, once it is as durable as it asked to be; it must not
// block. first may be nil.
func (h *Head) commit(c gcs.Change, first func(error)) {
	for _, e := range c.Effects {
		if _, ok := e.(gcs.Replan); ok {
			h.kick()
		}
	}
	h.committer.Add(c.Writes, c.Sync, func(err error) {
		if first != nil {
			first(err)
		}
		if errors.Is(err, gcs.ErrClosed) {
			return
		}
		for _, e := range c.Effects {
			h.perform(e)
		}
	})
}

// background runs f for a request that waits; its answer is the request's.
// The context ends when the head closes.
func (h *Head) background(r *request, f func(ctx context.Context) (any, []byte, error)) {
	r.later = true
	h.work.Go(func() {
		out, tail, err := f(h.ctx)
		r.reply(out, tail, err)
	})
}
