package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
)

// headLink is the session to the head. Calls wait while the head is away, and
// are sent again when it has come back as a process that does not know them.
type headLink struct {
	d    *daemon
	peer *wire.Peer
	// served: the node has been registered once.
	served atomic.Bool

	mu      sync.Mutex
	ready   chan struct{} // closed while the node is registered
	waiting []func()      // calls to make then, in order
}

// connect dials the head and registers; it tries until ctx ends.
func (h *headLink) connect(ctx context.Context) error {
	d := h.d
	h.ready = make(chan struct{})
	s, err := wire.DialSession(ctx, wire.DialOptions{
		Dialer:  wire.Dialer{Auth: d.auth},
		Address: func() string { return d.cfg.HeadAddress },
		Self:    d.self.String(),
		State: func(up bool, err error) {
			if !up && err != nil {
				d.log.Debug("head is away", "err", err)
			}
		},
	})
	if err != nil {
		return err
	}
	h.peer = wire.NewPeer(s, wire.PeerOptions{
		Reset: func(ctx context.Context) {
			h.lost()
			if err := h.register(ctx); err != nil && ctx.Err() == nil {
				d.stop(fmt.Errorf("%w: it does not take it back: %w", errCutOff, err))
			}
		},
		Closed: func(err error) {
			if d.ctx.Err() == nil {
				d.stop(fmt.Errorf("the session to the head has ended: %w", err))
			}
		},
		NoteError: func(method string, err error) { d.log.Warn("note from the head failed", "method", method, "err", err) },
	})
	h.handlers()
	h.peer.Start()
	return h.register(ctx)
}

func (h *headLink) register(ctx context.Context) error {
	d := h.d
	begun := time.Now()
	reply, err := h.enrol(ctx)
	if errors.Is(err, wire.ErrReset) {
		return nil // Reset is called again
	}
	if err != nil {
		return err
	}
	h.served.Store(true)
	d.locked(func() {
		d.lease.span = time.Duration(reply.LeaseMS) * time.Millisecond
		d.lease.renew(begun)
		d.registered(reply)
	})
	h.back()
	return nil
}

// back: the node is registered. What waited for that is asked now.
func (h *headLink) back() {
	h.mu.Lock()
	select {
	case <-h.ready:
	default:
		close(h.ready)
	}
	waiting := h.waiting
	h.waiting = nil
	h.mu.Unlock()
	for _, ask := range waiting {
		ask()
	}
}

// enrol sends the registration and waits for the answer. It is made and sent
// under the lock, so that a note of what changes after it comes after it.
func (h *headLink) enrol(ctx context.Context) (reply wire.RegisterReply, err error) {
	h.d.mu.Lock()
	wait, err := h.peer.Ask(wire.MethodRegister, h.d.registration(), nil)
	h.d.mu.Unlock()
	if err == nil {
		_, err = wait(ctx, &reply)
	}
	return reply, err
}

// lost: the head is one that does not know this node yet. Calls wait until it
// has been registered there.
func (h *headLink) lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.ready:
		h.ready = make(chan struct{})
	default:
	}
}

func (h *headLink) up() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ready
}

// notify tells the head something that the next registration tells again if
// the head dies before it has taken it.
func (h *headLink) notify(method string, in any) {
	if err := h.peer.Notify(method, in, nil); err != nil && h.d.ctx.Err() == nil {
		h.d.log.Warn("note to the head is lost", "method", method, "err", err)
	}
}

// tell tells the head something that no registration tells again: a head that
// is being replaced hears it when it is back.
func (h *headLink) tell(method string, in any) {
	h.async(method, in, nil, func(r wire.Reply, err error) {
		if err == nil {
			err = r.Err()
		}
		if err != nil && h.d.ctx.Err() == nil {
			h.d.log.Debug("the head does not take what it is told", "method", method, "err", err)
		}
	})
}

// call asks the head and waits. Not under the lock.
func (h *headLink) call(ctx context.Context, method string, in, out any, tail []byte) ([]byte, error) {
	for {
		select {
		case <-h.up():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		t, err := h.peer.Call(ctx, method, in, out, tail)
		switch {
		case errors.Is(err, wire.ErrReset):
			h.lost()
		case !tooEarly(err):
			return t, err
		}
	}
}

// tooEarly: a call was sent when the head had been replaced and this side had
// not yet noticed. It is sent again; the notice is on its way.
func tooEarly(err error) bool {
	var info *spec.ErrorInfo
	return errors.As(err, &info) && info.Type == wire.ErrNotRegistered
}

// async asks the head; done gets the answer on another goroutine.
func (h *headLink) async(method string, in any, tail []byte, done func(wire.Reply, error)) {
	select {
	case <-h.up():
	default:
		h.later(method, in, tail, done)
		return
	}
	_, err := h.peer.CallAsync(method, in, tail, func(r wire.Reply, err error) {
		if errors.Is(err, wire.ErrReset) {
			// All calls fail so before the node registers again.
			h.lost()
			h.later(method, in, tail, done)
			return
		}
		if err == nil && r.Error && tooEarly(r.Err()) {
			h.later(method, in, tail, done)
			return
		}
		done(r, err)
	})
	if err != nil {
		h.d.goes(func() { done(wire.Reply{}, err) })
	}
}

// later asks once the node is registered.
func (h *headLink) later(method string, in any, tail []byte, done func(wire.Reply, error)) {
	if method == wire.MethodHeartbeat {
		return // the next one says more
	}
	ask := func() { h.async(method, in, tail, done) }
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.ready:
		h.d.goes(ask)
	default:
		h.waiting = append(h.waiting, ask)
	}
}

// registration is what the head must know of this node. Under the lock.
func (d *daemon) registration() wire.RegisterRequest {
	req := wire.RegisterRequest{Info: d.info()}
	for _, h := range d.hosted {
		if h.alive {
			req.Actors = append(req.Actors, d.started(h))
		}
	}
	for _, b := range d.pool.Bundles() {
		req.Bundles = append(req.Bundles, wire.Bundle{Group: b.Group, Index: b.Index, Resources: b.Resources, JobID: b.Job})
	}
	for _, j := range d.jobs {
		if j.driver != nil && !j.dead {
			req.Jobs = append(req.Jobs, d.jobRow(j.driver, j.id))
		}
	}
	for id, c := range d.drivers {
		req.Drivers = append(req.Drivers, wire.DriverStarted{SubmissionID: id, PID: c.PID})
	}
	d.ownedActors(&req)
	return req
}

func (d *daemon) registered(r wire.RegisterReply) {
	d.cluster = r
	d.block = r.Block
	for _, n := range r.Nodes {
		d.nodes[n.ID] = n
	}
	d.lastBeat, d.beatSent = time.Time{}, nil
	d.rewatch()
}

func (h *headLink) handlers() {
	d, p := h.d, h.peer
	note := func(method string, f func(r *wire.Request) error) {
		p.Handle(method, func(_ context.Context, r *wire.Request) (any, []byte, error) {
			var err error
			d.locked(func() { err = f(r) })
			return nil, nil, err
		})
	}
	handle(note, wire.MethodNodesUpdate, func(ns []spec.Node) error { d.nodesUpdate(ns); return nil })
	handle(note, wire.MethodGrants, func(g wire.Grants) error { d.grants(g); return nil })
	handle(note, wire.MethodActorPlace, func(a wire.ActorPlace) error {
		if d.own.Place(a.ActorID, a.Node, a.Incarnation, a.Room) {
			return nil
		}
		if len(a.Stored) > 0 {
			return d.placeStored(a)
		}
		return fmt.Errorf("actor %s is not owned here", a.ActorID)
	})
	handle(note, wire.MethodActorUpdate, func(a spec.ActorInfo) error { d.own.ActorUpdate(a); return nil })
	handle(note, wire.MethodActorKill, func(k wire.ActorKill) error { d.killActor(k); return nil })
	handle(note, wire.MethodBundlePrepare, func(b wire.Bundle) error {
		defer d.wakeTicker()
		if d.drain != nil {
			return errors.New("this node drains")
		}
		err := d.pool.PrepareBundle(bundleOf(b))
		if err == nil {
			d.beat() // before the answer: the head then counts it no more by itself
		}
		return err
	})
	handle(note, wire.MethodBundleCommit, func(b wire.Bundle) error {
		err := d.pool.CommitBundle(b.Group, b.Index, d.now())
		d.reschedule()
		d.wakeTicker()
		return err
	})
	handle(note, wire.MethodBundleReturn, func(b wire.Bundle) error {
		d.bundleReturn(b)
		if time.Since(d.lastBeat) > tickEvery {
			d.beat()
		}
		d.beatChanged = true
		d.wakeTicker()
		return nil
	})
	handle(note, wire.MethodJobFinished, func(j wire.JobFinish) error { d.jobFinished(j.JobID); return nil })
	handle(note, wire.MethodLogLines, func(l wire.LogLines) error { d.logLines(l); return nil })
	p.Handle(wire.MethodQuery, func(_ context.Context, r *wire.Request) (any, []byte, error) {
		var q wire.Query
		if err := r.Decode(&q); err != nil {
			return nil, nil, err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.query(q), nil, nil
	})
	p.Handle(wire.MethodDriverRun, d.driverRun)
	p.Handle(wire.MethodDriverStop, d.driverStop)
	p.Handle(wire.MethodDriverForget, d.driverForget)
	p.Handle(wire.MethodLogRead, d.logRead)
	p.Handle(wire.MethodLogList, d.logList)
	p.Handle(wire.MethodDrain, d.onDrain)
	p.Handle(wire.MethodResize, d.onResize)
	p.Handle(wire.MethodCollect, func(context.Context, *wire.Request) (any, []byte, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.collectHere()
		return nil, nil, nil
	})
	p.Handle(wire.MethodShutdown, func(context.Context, *wire.Request) (any, []byte, error) {
		d.log.Info("the head asks this node to shut down")
		d.stop(errShutdown)
		return nil, nil, nil
	})
}

var errShutdown = errors.New("shut down")

// handle registers a handler that runs under the lock.
func handle[T any](set func(string, func(*wire.Request) error), method string, f func(T) error) {
	set(method, func(r *wire.Request) error {
		var v T
		if err := json.Unmarshal(r.JSON, &v); err != nil {
			return fmt.Errorf("%s cannot be read: %w", method, err)
		}
		return f(v)
	})
}
