package head

import (
	"errors"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// perform lets one effect of a stored change out. It runs on the committer's
// goroutine and never blocks.
func (h *Head) perform(e gcs.Effect) {
	switch e := e.(type) {
	case gcs.StartActor:
		if !h.notify(e.To, wire.MethodActorPlace, e.Place) {
			h.log.Warn("the order to start an actor waits until its node is back", "node", e.To, "actor", e.Place.ActorID)
		}
	case gcs.KillActor:
		h.notify(e.To, wire.MethodActorKill, e.Kill)
	case gcs.ActorChanged:
		for _, to := range e.To {
			h.notify(to, wire.MethodActorUpdate, e.Info)
		}
	case gcs.PrepareBundle:
		h.askBundle(e.To, wire.MethodBundlePrepare, e.Bundle, func(ok bool) gcs.Change {
			return h.tables.BundlePrepared(e.Bundle.Group, e.Attempt, e.Bundle.Index, e.To, ok)
		})
	case gcs.CommitBundle:
		h.askBundle(e.To, wire.MethodBundleCommit, e.Bundle, func(ok bool) gcs.Change {
			return h.tables.BundleCommitted(e.Bundle.Group, e.Attempt, e.Bundle.Index, e.To, ok, h.now())
		})
	case gcs.ReturnBundle:
		h.notify(e.To, wire.MethodBundleReturn, e.Bundle)
	case gcs.GroupChanged:
		h.wakeGroup(e.Info)
	case gcs.NodeChanged:
		h.broadcast(wire.MethodNodesUpdate, []spec.Node{e.Node})
		if e.Node.State == spec.NodeDead {
			h.onNodeDead(e.Node)
		}
		h.wakeAutoscaler()
	case gcs.JobFinished:
		h.broadcast(wire.MethodJobFinished, e.Finish)
	case gcs.Tell:
		h.mu.Lock()
		h.event(e.Severity, e.Source, e.Message)
		h.mu.Unlock()
	}
}

// peerOf is the present link to a node, or nil.
func (h *Head) peerOf(id spec.NodeID) *wire.Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[id]; l != nil {
		return l.peer
	}
	return nil
}

// notify tells a node; false means that it has no session.
func (h *Head) notify(id spec.NodeID, method string, v any) bool {
	p := h.peerOf(id)
	return p != nil && p.Notify(method, v, nil) == nil
}

func (h *Head) broadcast(method string, v any) {
	h.mu.Lock()
	peers := make([]*wire.Peer, 0, len(h.links))
	for _, l := range h.links {
		peers = append(peers, l.peer)
	}
	h.mu.Unlock()
	for _, p := range peers {
		_ = p.Notify(method, v, nil) // a node without a session is told everything when it registers
	}
}

// askBundle makes a step of a placement group; next takes the answer to the
// table, under the lock.
func (h *Head) askBundle(to spec.NodeID, method string, b wire.Bundle, next func(ok bool) gcs.Change) {
	answered := func(err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if err != nil {
			h.log.Debug("a bundle was refused", "method", method, "node", to, "err", err)
			h.backOff(b.Group)
		}
		if method == wire.MethodBundlePrepare {
			h.kept(to, b.Resources) // reserved, which its heartbeat has said before this answer, or not at all
		}
		h.commit(next(err == nil), nil)
	}
	p := h.peerOf(to)
	if p == nil {
		answered(errors.New("the node has no session"))
		return
	}
	_, err := p.CallAsync(method, b, nil, func(r wire.Reply, err error) {
		if err == nil {
			err = r.Err()
		}
		answered(err)
	})
	if err != nil {
		answered(err)
	}
}

// maxEvents is how many events the head remembers.
const maxEvents = 1000

// event adds to the cluster's events. Needs h.mu.
func (h *Head) event(severity, source, message string) {
	h.addEvent(spec.Event{TimeMS: h.now(), Severity: severity, Source: source, Message: message})
}

func (h *Head) addEvent(e spec.Event) {
	h.events = append(h.events, e)
	if len(h.events) > maxEvents {
		h.events = append([]spec.Event(nil), h.events[len(h.events)-maxEvents:]...)
	}
	h.log.Info(e.Message, "source", e.Source, "severity", e.Severity)
}

// wakeGroup answers those who wait for a group, once there is something to say.
func (h *Head) wakeGroup(pg spec.PlacementGroup) {
	if pg.State != spec.PGCreated && pg.State != spec.PGRemoved {
		return
	}
	h.mu.Lock()
	delete(h.refused, pg.ID)
	delete(h.giveUp, pg.ID)
	waiting := h.groupWaiters[pg.ID]
	delete(h.groupWaiters, pg.ID)
	h.mu.Unlock()
	for _, ch := range waiting {
		close(ch)
	}
}
