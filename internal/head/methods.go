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
	wire.MethodDriverProgress:    (*Head).driverProgress,
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
	wire.MethodHeadNotice:        (*Head).headNotice,
	"autoscaler.request":         (*Head).autoscalerRequest,
	"state.list":                 (*Head).stateList,
	"memory.summary":             (*Head).memorySummary,
	"status":                     (*Head).statusCall,
	"job.info":                   (*Head).jobInfo,
	"cluster.shutdown":           (*Head).clusterShutdown,
	wire.MethodCollect:           (*Head).collectGarbage,
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
	h.setRows(r.from, s, p.Rows)
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
		spec.Drain
	}
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	if req.DeadlineMS < 0 {
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: "ValueError", Message: fmt.Sprintf("Draining deadline must be non-negative, got %d ms.", req.DeadlineMS)}
	}
	h.background(r, func(ctx context.Context) (any, []byte, error) {
		reply, err := h.drain(ctx, req.NodeID, req.Drain)
		return reply, nil, err
	})
	return nil, gcs.Change{}, nil
}

func (h *Head) drain(ctx context.Context, id spec.NodeID, d spec.Drain) (reply wire.DrainReply, err error) {
	p := h.peerOf(id)
	if p == nil {
		return wire.DrainReply{Accepted: true, Message: "the node is not there any more"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	h.ask(id, &d)
	_, err = p.Call(ctx, wire.MethodDrain, d, &reply, nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.soft[id]
	if s == nil || s.asked != &d {
		return reply, err // a heartbeat has told already, or the node has gone
	}
	s.asked = nil
	if err == nil && reply.Accepted {
		h.commit(h.tables.NodeDraining(id, d), nil)
		h.seeNode(id)
	}
	return reply, err
}

// ask notes what a node is being asked.
func (h *Head) ask(id spec.NodeID, d *spec.Drain) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.soft[id]; s != nil {
		s.asked = d
	}
}

// headNotice is told, again and again, that the cloud will take away the
// machine that this runs on. There is nowhere to go: people are told.
func (h *Head) headNotice(r *request) (any, gcs.Change, error) {
	var d spec.Drain
	if err := r.decode(&d); err != nil || d == h.notice {
		return nil, gcs.Change{}, err
	}
	h.notice = d
	text := fmt.Sprintf("The cloud takes the head's machine away at %s, and the whole cluster ends with it: %s. Save what is needed; `ray up` makes another.",
		time.UnixMilli(d.DeadlineMS).UTC().Format(time.TimeOnly+" MST"), d.Message)
	h.addEvent(spec.Event{TimeMS: h.now(), Severity: "ERROR", Source: "node", Message: text})
	h.work.Go(func() { h.broadcast(wire.MethodLogLines, wire.LogLines{Kind: "autoscaler", Lines: []string{text}}) })
	return nil, gcs.Change{}, nil
}

// collectGarbage has every node ask its processes to collect.
func (h *Head) collectGarbage(*request) (any, gcs.Change, error) {
	h.work.Go(func() { h.broadcast(wire.MethodCollect, struct{}{}) })
	return nil, gcs.Change{}, nil
}

// clusterShutdown ends every daemon of the cluster, the head last.
func (h *Head) clusterShutdown(*request) (any, gcs.Change, error) {
	h.work.Go(func() { h.broadcast(wire.MethodShutdown, struct{}{}) })
	return nil, gcs.Change{}, nil
}
