package head

import (
	"context"
	"fmt"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

func (h *Head) actorReserve(r *request) (any, gcs.Change, error) {
	var req struct {
		ActorID spec.ActorID      `json:"actor_id"`
		Options spec.ActorOptions `json:"options"`
	}
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	existing, change, err := h.tables.ReserveActor(req.ActorID, req.Options, r.from, h.now())
	return map[string]*spec.ActorInfo{"existing": existing}, change, err
}

func (h *Head) actorCreate(r *request) (any, gcs.Change, error) {
	var req wire.ActorCreate
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	if req.Info.Owner.IsZero() {
		req.Info.Owner = r.from
	}
	if len(r.tail) > 0 && len(req.Stored) == 0 {
		req.Stored = r.keepTail()
	}
	change, err := h.tables.CreateActor(req, h.now())
	if known := h.unborn[req.Info.ID]; known != nil {
		close(known)
		delete(h.unborn, req.Info.ID)
	}
	return nil, change, err
}

func (h *Head) actorStarted(r *request) (any, gcs.Change, error) {
	var req wire.ActorStarted
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	delete(h.refused, req.ActorID)
	return nil, h.tables.ActorStarted(req, r.from, h.now()), nil
}

func (h *Head) actorEnded(r *request) (any, gcs.Change, error) {
	var req wire.ActorEnded
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	if req.Refused {
		h.backOff(req.ActorID)
	}
	return nil, h.tables.ActorEnded(req, r.from, h.now()), nil
}

func (h *Head) actorUnreferenced(r *request) (any, gcs.Change, error) {
	var req wire.ActorRef
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	return nil, h.tables.UnreferenceActor(req.ActorID, h.now()), nil
}

func unknownActor(id spec.ActorID) error {
	return &spec.ErrorInfo{
		Type: "ActorHandleNotFoundError", Fields: map[string]any{"actor_id": id.String()},
		Message: fmt.Sprintf("Can't find actor %s. It might be dead or it's from a different cluster: its handle may come from an earlier session, or the actor ended long ago.", id),
	}
}

func (h *Head) actorWatch(r *request) (any, gcs.Change, error) {
	var req wire.ActorRef
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	if info, ok := h.tables.WatchActor(req.ActorID, r.from); ok {
		return info, gcs.Change{}, nil
	}
	// A handle may travel from node to node faster than the news of the actor
	// from its owner to here.
	known := h.unborn[req.ActorID]
	if known == nil {
		known = make(chan struct{})
		h.unborn[req.ActorID] = known
	}
	r.later = true
	h.work.Go(func() {
		t := time.NewTimer(unbornPatience)
		defer t.Stop()
		select {
		case <-known:
		case <-t.C:
		case <-h.ctx.Done():
		}
		h.mu.Lock()
		defer h.mu.Unlock() // after the answer: no news of the actor may come before it
		if h.unborn[req.ActorID] == known {
			delete(h.unborn, req.ActorID)
		}
		if info, ok := h.tables.WatchActor(req.ActorID, r.from); ok {
			r.reply(info, nil, nil)
			return
		}
		r.reply(nil, nil, unknownActor(req.ActorID))
	})
	return nil, gcs.Change{}, nil
}

// unbornPatience is how long a handle may be ahead of its actor.
const unbornPatience = 5 * time.Second

func (h *Head) actorInfo(r *request) (any, gcs.Change, error) {
	var req wire.ActorRef
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	a, ok := h.tables.Actor(req.ActorID)
	if !ok {
		return nil, gcs.Change{}, unknownActor(req.ActorID)
	}
	return a.Info, gcs.Change{}, nil
}

// actorName is the JSON of the calls that name an actor.
type actorName struct {
	Name          string `json:"name"`
	Namespace     string `json:"namespace"`
	AllNamespaces bool   `json:"all_namespaces"`
}

func (h *Head) actorGet(r *request) (any, gcs.Change, error) {
	var req actorName
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	info, ok := h.tables.ActorByName(req.Namespace, req.Name)
	if !ok {
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: "ValueError", Message: fmt.Sprintf(
			"Failed to look up actor with name '%s'. No living actor has that name in namespace '%s': it may not have been created yet, may have died, or may be in another namespace.",
			req.Name, req.Namespace)}
	}
	return info, gcs.Change{}, nil
}

func (h *Head) actorList(r *request) (any, gcs.Change, error) {
	var req actorName
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	out := []map[string]string{}
	for _, o := range h.tables.NamedActors(req.Namespace, req.AllNamespaces) {
		out = append(out, map[string]string{"name": o.Name, "namespace": o.Namespace})
	}
	return out, gcs.Change{}, nil
}

func (h *Head) actorKill(r *request) (any, gcs.Change, error) {
	var req wire.ActorKill
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	why := "it was killed by `ray.kill`"
	if req.Reason != "" {
		why = req.Reason
	}
	change, ok := h.tables.KillActor(req.ActorID, req.NoRestart, why, h.now())
	if !ok {
		return nil, gcs.Change{}, unknownActor(req.ActorID)
	}
	return nil, change, nil
}

func (h *Head) pgCreate(r *request) (any, gcs.Change, error) {
	var pg spec.PlacementGroup
	if err := r.decode(&pg); err != nil {
		return nil, gcs.Change{}, err
	}
	change, err := h.tables.CreateGroup(pg, h.now())
	return map[string]any{}, change, err
}

// pgRequest is the JSON of the calls that name a group.
type pgRequest struct {
	ID        spec.PlacementGroupID `json:"id"`
	TimeoutS  *float64              `json:"timeout_s"`
	Name      string                `json:"name"`
	Namespace string                `json:"namespace"`
}

func (h *Head) pgRemove(r *request) (any, gcs.Change, error) {
	var req pgRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	return map[string]any{}, h.tables.RemoveGroup(req.ID, h.now()), nil
}

func (h *Head) pgGet(r *request) (any, gcs.Change, error) {
	var req pgRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	pg, ok := h.tables.GroupByName(req.Namespace, req.Name)
	if !ok {
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: "ValueError", Message: fmt.Sprintf("Failed to look up placement group with name: %s in namespace '%s'", req.Name, req.Namespace)}
	}
	return pg, gcs.Change{}, nil
}

func (h *Head) pgTable(r *request) (any, gcs.Change, error) {
	var req pgRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	out := []spec.PlacementGroup{}
	for _, g := range h.tables.Groups() {
		if req.ID.IsZero() || g.Info.ID == req.ID {
			out = append(out, g.Info)
		}
	}
	return out, gcs.Change{}, nil
}

// pgWait answers once the group is placed, removed, or the time is over. No
// timeout, or a negative one, waits for ever.
func (h *Head) pgWait(r *request) (any, gcs.Change, error) {
	var req pgRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	g, ok := h.tables.Group(req.ID)
	switch {
	case !ok:
		return nil, gcs.Change{}, &spec.ErrorInfo{Type: "ValueError", Message: fmt.Sprintf("Placement group %s does not exist.", req.ID)}
	case g.Info.State == spec.PGCreated:
		return map[string]bool{"ready": true}, gcs.Change{}, nil
	case g.Info.State == spec.PGRemoved:
		return map[string]any{"ready": false, "removed": true}, gcs.Change{}, nil
	case req.TimeoutS != nil && *req.TimeoutS == 0:
		return map[string]bool{"ready": false}, gcs.Change{}, nil
	}
	done := make(chan struct{})
	h.groupWaiters[req.ID] = append(h.groupWaiters[req.ID], done)
	h.background(r, func(ctx context.Context) (any, []byte, error) {
		var over <-chan time.Time
		if req.TimeoutS != nil && *req.TimeoutS > 0 {
			t := time.NewTimer(time.Duration(*req.TimeoutS * float64(time.Second)))
			defer t.Stop()
			over = t.C
		}
		select {
		case <-done:
		case <-over:
			h.dropWaiter(req.ID, done)
		case <-ctx.Done():
			return nil, nil, &spec.ErrorInfo{Type: "RaySystemError", Message: "the head is going away; ask again"}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		g, _ := h.tables.Group(req.ID)
		return map[string]any{"ready": g.Info.State == spec.PGCreated, "removed": g.Info.State == spec.PGRemoved}, nil, nil
	})
	return nil, gcs.Change{}, nil
}

func (h *Head) dropWaiter(id spec.PlacementGroupID, done chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := h.groupWaiters[id][:0]
	for _, ch := range h.groupWaiters[id] {
		if ch != done {
			kept = append(kept, ch)
		}
	}
	if len(kept) == 0 {
		delete(h.groupWaiters, id)
	} else {
		h.groupWaiters[id] = kept
	}
}
