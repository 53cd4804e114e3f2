package head

import (
	"context"
	"fmt"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// methods are the calls and notes of nodes. Those that docs/PROTOCOL.md
// section 2 lists for clients arrive here unchanged.
var methods = map[string]handler{
	wire.MethodRegister:          (*Head).nodeRegister,
	wire.MethodHeartbeat:         (*Head).nodeHeartbeat,
	wire.MethodUnregister:        (*Head).nodeUnregister,
	wire.MethodProcessBlock:      (*Head).procBlock,
	wire.MethodPlaces:            (*Head).schedPlaces,
	wire.MethodJobStart:          (*Head).jobStart,
	wire.MethodJobFinish:         (*Head).jobFinish,
	wire.MethodActorCreate:       (*Head).actorCreate,
	wire.MethodActorStarted:      (*Head).actorStarted,
	wire.MethodActorEnded:        (*Head).actorEnded,
	wire.MethodActorUnreferenced: (*Head).actorUnreferenced,
	wire.MethodActorWatch:        (*Head).actorWatch,
	wire.MethodDriverExited:      (*Head).driverExited,
	wire.MethodEvent:             (*Head).eventNote,
	wire.MethodPackageGet:        (*Head).pkgGet,
	"pkg.exists":                 (*Head).pkgExists,
	"pkg.put":                    (*Head).pkgPut,
	"kv.get":                     (*Head).kvGet,
	"kv.put":                     (*Head).kvPut,
	"kv.del":                     (*Head).kvDel,
	"kv.list":                    (*Head).kvList,
	"kv.exists":                  (*Head).kvExists,
	"actor.reserve":              (*Head).actorReserve,
	"actor.get":                  (*Head).actorGet,
	"actor.list":                 (*Head).actorList,
	"actor.info":                 (*Head).actorInfo,
	"actor.kill":                 (*Head).actorKill,
	"pg.create":                  (*Head).pgCreate,
	"pg.wait":                    (*Head).pgWait,
	"pg.remove":                  (*Head).pgRemove,
	"pg.get":                     (*Head).pgGet,
	"pg.table":                   (*Head).pgTable,
	"cluster.resources":          (*Head).clusterResources,
	"nodes.list":                 (*Head).nodesList,
	"node.drain":                 (*Head).nodeDrain,
	"autoscaler.request":         (*Head).autoscalerRequest,
	"state.list":                 (*Head).stateList,
	"memory.summary":             (*Head).memorySummary,
	"status":                     (*Head).statusCall,
	"job.info":                   (*Head).jobInfo,
	"cluster.shutdown":           (*Head).clusterShutdown,
}

func (h *Head) nodeRegister(r *request) (any, gcs.Change, error) {
	var req wire.RegisterRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	id := req.Info.ID
	if id.IsZero() {
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: "ValueError", Message: "node.register: the node has no id"}
	}
	change, err := h.tables.Join(req.Info, h.now())
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

func (h *Head) nodeHeartbeat(r *request) (any, gcs.Change, error) {
	if r.from.IsZero() { // a head that has just started: the node registers next
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: "RaySystemError", Message: "heartbeat: this node has not registered with this head process yet"}
	}
	n, ok := h.tables.Node(r.from)
	s := h.soft[r.from]
	if !ok || s == nil || n.State == spec.NodeDead || h.links[r.from] != r.link {
		return wire.HeartbeatReply{Unknown: true}, gcs.Change{}, nil
	}
	beat := wire.Heartbeat{}
	if err := r.decode(&beat); err != nil {
		return nil, gcs.Change{}, err
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
		beat.Activity = append(beat.Activity, "it holds bundles of placement groups")
	}
	s.beat, s.seen = beat, time.Now()
	change := h.tables.SetNode(r.from, beat.Total, beat.Available, beat.IdleMS, beat.Activity, beat.Draining)
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
	late := !s.drainUntil.IsZero() && time.Now().After(s.drainUntil)
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
		if s.drainWhy != "" {
			reason += " (" + s.drainWhy + ")"
		}
	}
	h.declareDead(r.from, reason, true)
	return nil, gcs.Change{}, nil
}

func (h *Head) procBlock(*request) (any, gcs.Change, error) {
	start, change := h.tables.ProcessBlock(processBlock)
	return wire.ProcessBlock{Start: start, Count: processBlock}, change, nil
}

func (h *Head) schedPlaces(r *request) (any, gcs.Change, error) {
	var p wire.Places
	if err := r.decode(&p); err != nil {
		return nil, gcs.Change{}, err
	}
	s := h.soft[r.from]
	s.rows = p.Rows
	since := make(map[string]int64, len(p.Rows))
	reasons := make(map[string]wire.Reason, len(p.Rows))
	for _, row := range p.Rows {
		since[row.Key] = h.now()
		if old, ok := s.rowSince[row.Key]; ok {
			since[row.Key] = old
		}
		if old, ok := s.reasons[row.Key]; ok {
			reasons[row.Key] = old
		}
	}
	s.rowSince, s.reasons = since, reasons
	h.kick()
	return nil, gcs.Change{}, nil
}

func (h *Head) jobStart(r *request) (any, gcs.Change, error) {
	var req wire.JobStart
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	req.Job.NodeID = r.from
	id, change := h.tables.StartJob(req.Job, h.now())
	return wire.JobStarted{JobID: id}, change, nil
}

func (h *Head) jobFinish(r *request) (any, gcs.Change, error) {
	var req wire.JobFinish
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	return nil, h.tables.FinishJob(req.JobID, req.Reason, false, h.now()), nil
}

func (h *Head) jobInfo(r *request) (any, gcs.Change, error) {
	var req wire.JobFinish
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	job, ok := h.tables.Job(req.JobID.String())
	if !ok {
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: "ValueError", Message: fmt.Sprintf("Job %s does not exist.", req.JobID)}
	}
	return job, gcs.Change{}, nil
}

func (h *Head) eventNote(r *request) (any, gcs.Change, error) {
	var e spec.Event
	if err := r.decode(&e); err != nil {
		return nil, gcs.Change{}, err
	}
	if e.TimeMS == 0 {
		e.TimeMS = h.now()
	}
	h.addEvent(e)
	return nil, gcs.Change{}, nil
}

func (h *Head) clusterResources(*request) (any, gcs.Change, error) {
	total, available := spec.Resources{}, spec.Resources{}
	for _, n := range h.tables.Nodes() {
		if n.State != spec.NodeDead {
			total.Add(n.Total)
			available.Add(n.Available)
		}
	}
	return map[string]spec.Resources{"total": total, "available": available}, gcs.Change{}, nil
}

func (h *Head) nodesList(*request) (any, gcs.Change, error) {
	return h.tables.Nodes(), gcs.Change{}, nil
}

// nodeDrain asks a node to leave; the answer is the node's.
func (h *Head) nodeDrain(r *request) (any, gcs.Change, error) {
	var req struct {
		NodeID spec.NodeID `json:"node_id"`
		wire.Drain
	}
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	h.background(r, func(ctx context.Context) (any, []byte, error) {
		reply, err := h.drain(ctx, req.NodeID, req.Drain)
		return reply, nil, err
	})
	return nil, gcs.Change{}, nil
}

func (h *Head) drain(ctx context.Context, id spec.NodeID, d wire.Drain) (reply wire.DrainReply, err error) {
	p := h.peerOf(id)
	if p == nil {
		return wire.DrainReply{Accepted: true, Message: "the node is not there any more"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := p.Call(ctx, wire.MethodDrain, d, &reply, nil); err != nil {
		return reply, err
	}
	if reply.Accepted {
		h.mu.Lock()
		if s := h.soft[id]; s != nil {
			s.drainWhy = d.Message
			if d.DeadlineMS > 0 {
				s.drainUntil = time.UnixMilli(d.DeadlineMS)
			}
		}
		h.commit(h.tables.NodeDraining(id), nil)
		h.mu.Unlock()
	}
	return reply, nil
}

// clusterShutdown ends every daemon of the cluster, the head last.
func (h *Head) clusterShutdown(*request) (any, gcs.Change, error) {
	h.work.Go(func() { h.broadcast(wire.MethodShutdown, struct{}{}) })
	return nil, gcs.Change{}, nil
}
