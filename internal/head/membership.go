package head

import (
	"fmt"
	"slices"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

func (h *Head) nodeRegister(r *request) (any, gcs.Change, error) {
	var req wire.RegisterRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	id := req.Info.ID
	if id.IsZero() {
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: "ValueError", Message: "node.register: the node has no id"}
	}
	err := h.mayJoin(&req.Info)
	var change gcs.Change
	if err == nil {
		change, err = h.tables.Join(req.Info, h.now())
	}
	if err != nil {
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: "NodeDiedError", Message: err.Error()}
	}
	if s := h.soft[id]; s != nil && !s.joined {
		h.lost--
	}
	h.links[id], r.link.id = r.link, id
	h.soft[id] = &soft{
		seen: time.Now(), joined: true, reasons: map[string]wire.Reason{}, rowSince: map[string]int64{},
		beat: wire.Heartbeat{Total: req.Info.Total, Available: req.Info.Total.Clone()},
	}
	delete(h.askers, id)
	h.seeNode(id)
	for _, j := range req.Jobs {
		j.NodeID = id
		change.Merge(h.tables.RejoinJob(j, h.now()))
	}
	change.Merge(h.tables.RejoinActors(id, req.Owned, req.Actors, h.now()))
	change.Merge(h.tables.RejoinBundles(id, req.Bundles))
	start, block := h.tables.ProcessBlock(processBlock)
	change.Merge(block)
	h.drivers(id, req.Drivers)
	return wire.RegisterReply{
		ClusterID: h.tables.ClusterID(), ClusterName: h.cfg.ClusterName, SessionName: h.cfg.SessionName,
		Block: wire.ProcessBlock{Start: start, Count: processBlock}, LeaseMS: h.lease.Milliseconds(),
		Dashboard: h.ready.Dashboard, Nodes: h.tables.Nodes(), Config: h.cfg.NodeConfig,
	}, change, nil
}

// mayJoin refuses nodes on machines that are being taken away, and a second
// node on a machine of the autoscaler: set-ups of an earlier head may overlap.
// Needs h.mu.
func (h *Head) mayJoin(info *spec.NodeInfo) error {
	if info.Instance == "" {
		return nil
	}
	if h.scaler != nil && !h.scaler.admits(info.Instance) {
		return fmt.Errorf("the machine %s is being taken away: no node on it may join", info.Instance)
	}
	for _, n := range h.tables.Nodes() {
		if n.Instance != info.Instance || n.ID == info.ID || n.State == spec.NodeDead {
			continue
		}
		if s := h.soft[n.ID]; h.links[n.ID] != nil && !h.cutOff(n.ID) && s != nil && time.Since(s.seen) < silence {
			return fmt.Errorf("the machine %s already has a node that works, %s: a second one may not join", info.Instance, n.ID)
		}
	}
	return nil
}

func (h *Head) nodeHeartbeat(r *request) (any, gcs.Change, error) {
	if r.from.IsZero() { // a head that has just started: the node registers next
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: wire.ErrNotRegistered, Message: "heartbeat: this node has not registered with this head process yet"}
	}
	n, ok := h.tables.Node(r.from)
	s := h.soft[r.from]
	if !ok || s == nil || n.State == spec.NodeDead || h.links[r.from] != r.link {
		return wire.HeartbeatReply{Unknown: true}, gcs.Change{}, nil
	}
	var delta wire.HeartbeatDelta
	if err := r.decode(&delta); err != nil {
		return nil, gcs.Change{}, err
	}
	if !delta.Full && delta.Seq != s.beatSeq+1 {
		s.seen = time.Now()
		return wire.HeartbeatReply{Resend: true}, gcs.Change{}, nil
	}
	s.beatSeq = delta.Seq
	s.told = delta.On(s.told)
	beat := s.told
	arrived := 0
	if beat.Arrivals > s.beat.Arrivals && !delta.Full {
		arrived = int(beat.Arrivals - s.beat.Arrivals)
	}
	if beat.Total == nil {
		beat.Total = n.Total
	}
	if beat.Available == nil {
		beat.Available = spec.Resources{}
	}
	if !beat.GroupReserved.IsEmpty() && beat.IdleMS > 0 {
		// A reservation is work, whether or not anything runs inside.
		beat.IdleMS = 0
		beat.Activity = append(slices.Clip(beat.Activity), "it holds bundles of placement groups")
	}
	s.beat, s.seen = beat, time.Now()
	change := h.tables.SetNode(r.from, beat.Total, beat.Available, beat.IdleMS, beat.Activity, beat.Draining)
	change.Merge(h.tables.NodeHeir(r.from, beat.Heir))
	if beat.Draining && n.Drain == nil && s.asked != nil {
		change.Merge(h.tables.NodeDraining(r.from, *s.asked))
		s.asked = nil
	}
	told := toldBy(&s.beat)
	told.Arrived = arrived
	h.cluster.Update(r.from, told)
	if beat.Draining && n.State == spec.NodeAlive {
		h.seeNode(r.from)
	}
	if h.somethingWaits() {
		h.kick()
	}
	if beat.Draining {
		h.endDrained(n, s)
	}
	return wire.HeartbeatReply{}, change, nil
}

// endDrained ends a draining node once it has nothing to do any more, or its
// deadline is over. Needs h.mu.
func (h *Head) endDrained(n spec.Node, s *soft) {
	late := n.Drain != nil && n.Drain.DeadlineMS > 0 && h.now() > n.Drain.DeadlineMS
	if s.ending || n.Head || s.beat.IdleMS <= 0 && !late {
		return
	}
	s.ending = true
	if err := h.links[n.ID].peer.Notify(wire.MethodShutdown, struct{}{}, nil); err != nil {
		s.ending = false // its session is gone: the next one is told
	}
}

func (h *Head) nodeUnregister(r *request) (any, gcs.Change, error) {
	reason := "it was stopped"
	if s := h.soft[r.from]; s != nil && s.ending {
		reason = "it was drained"
		if n, ok := h.tables.Node(r.from); ok && n.Drain != nil && n.Drain.Message != "" {
			reason += " (" + n.Drain.Message + ")"
		}
	}
	h.declareDead(r.from, reason, true)
	return nil, gcs.Change{}, nil
}
