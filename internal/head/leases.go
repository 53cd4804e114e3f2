package head

import (
	"errors"
	"net"
	"syscall"
	"time"

	"ray/internal/spec"
)

// Timing of the failure detector.
const (
	// graceAfterLease is added to the lease before a silent node is dead: by
	// then it has stopped its workers by itself.
	graceAfterLease = 2 * time.Second
	// silence is how long a node may say nothing before its port is tried.
	silence      = 1500 * time.Millisecond
	probeTimeout = time.Second
)

// leaseLoop declares nodes dead that are silent for too long.
func (h *Head) leaseLoop() {
	tick := time.NewTicker(min(h.lease/8, 250*time.Millisecond))
	defer tick.Stop()
	last, warnedAt := time.Now(), time.Now()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		h.mu.Lock()
		h.forgetOutside(now)
		if h.slept(now.Sub(last), now) {
			h.log.Warn("this process did not run for a while: every node gets a new lease", "for", now.Sub(last))
		}
		h.checkLeases(now)
		if now.Sub(warnedAt) >= time.Second {
			warnedAt = now
			actors := h.tables.WaitingActors()
			h.warnWaiting(now, actors)
			h.collectForActors(now, actors)
		}
		h.mu.Unlock()
		last = now
	}
}

// slept gives all nodes a full lease if the head was not running: their
// heartbeats could not be taken, and they were told that the head is away.
// Needs h.mu.
func (h *Head) slept(gap time.Duration, now time.Time) bool {
	if gap <= min(silence, h.lease/2) {
		return false
	}
	for _, s := range h.soft {
		s.seen = now
	}
	return true
}

// checkLeases needs h.mu.
func (h *Head) checkLeases(now time.Time) {
	if !h.recovering.IsZero() && (now.After(h.recovering) || h.lost == 0) {
		h.recovering = time.Time{}
		h.commit(h.tables.ExpireClaims(), nil)
		h.kick()
	}
	known, missing := 0, 0
	for _, s := range h.soft {
		known++
		if !s.joined {
			missing++
		}
	}
	for id, s := range h.soft {
		quiet := now.Sub(s.seen)
		if quiet > silence || h.cutOff(id) {
			h.probe(id)
		}
		if quiet <= h.lease+graceAfterLease {
			continue
		}
		// A head that has lost sight of most nodes suspects itself.
		if !s.joined && known > 1 && 2*missing > known {
			continue
		}
		h.declareDead(id, "no word from it for "+quiet.Round(100*time.Millisecond).String(), false)
	}
}

// cutOff tells that no connection carries the node's session. Needs h.mu.
func (h *Head) cutOff(id spec.NodeID) bool {
	l := h.links[id]
	if l == nil {
		return false
	}
	s, ok := l.Link.(interface{ Up() bool })
	return ok && !s.Up()
}

// declareDead is the verdict; every node is told. Needs h.mu.
func (h *Head) declareDead(id spec.NodeID, reason string, expected bool) {
	if s := h.soft[id]; s != nil && !s.joined {
		h.lost--
	}
	delete(h.soft, id)
	delete(h.askers, id)
	h.cluster.Remove(id)
	if l := h.links[id]; l != nil && !expected {
		// If it lives after all it finds its session gone and joins anew.
		h.work.Go(func() { _ = l.peer.Close() })
	}
	delete(h.links, id)
	h.commit(h.tables.NodeDead(id, reason, expected, h.now()), nil)
}

// probe tries the node's port: a machine that refuses it has no daemon any
// more. Needs h.mu.
func (h *Head) probe(id spec.NodeID) {
	s := h.soft[id]
	n, ok := h.tables.Node(id)
	if s == nil || s.probing || !ok || n.Address == "" || h.closing {
		return
	}
	s.probing = true
	seen := s.seen
	h.work.Go(func() {
		d := net.Dialer{Timeout: probeTimeout}
		conn, err := d.DialContext(h.ctx, "tcp", n.Address)
		if err == nil {
			_ = conn.Close()
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		s.probing = false
		if h.soft[id] == s && s.seen.Equal(seen) && errors.Is(err, syscall.ECONNREFUSED) && h.ctx.Err() == nil {
			h.declareDead(id, "its machine refuses connections to "+n.Address+": the daemon is gone", false)
		}
	})
}
