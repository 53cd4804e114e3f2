package head

import (
	"context"
	"fmt"
	"slices"

	"ray/internal/gcs"
	"ray/internal/scheduler"
	"ray/internal/spec"
	"ray/internal/wire"
)

// cluster is the head as the job service sees it.
type cluster struct{ *Head }

func (c cluster) Jobs() []spec.Job {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tables.Jobs()
}

func (c cluster) Job(id string) (spec.Job, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tables.Job(id)
}

func (c cluster) SubmitJob(j spec.Job) error {
	return c.change(func(t *gcs.Tables) (gcs.Change, error) { return t.Submit(j) })
}

func (c cluster) UpdateJob(id string, f func(*spec.Job)) (ok bool, err error) {
	err = c.change(func(t *gcs.Tables) (change gcs.Change, _ error) {
		change, ok = t.UpdateSubmission(id, f)
		return change, nil
	})
	return ok, err
}

func (c cluster) DeleteJob(id string) error {
	return c.change(func(t *gcs.Tables) (gcs.Change, error) { return t.DeleteJob(id), nil })
}

// PickNode takes the head's node unless the entrypoint needs something.
func (c cluster) PickNode(need spec.Resources, labels map[string]string) (spec.NodeID, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes := c.tables.Nodes()
	at := slices.IndexFunc(nodes, func(n spec.Node) bool {
		_, ok := scheduler.MatchLabels(n.Labels, labels)
		return n.State == spec.NodeAlive && c.links[n.ID] != nil && n.Available.Fits(need) && ok
	})
	if at >= 0 { // the head's node comes first in the list
		return nodes[at].ID, ""
	}
	if need.IsEmpty() && len(labels) == 0 {
		return spec.NodeID{}, "no node has joined the cluster yet"
	}
	return spec.NodeID{}, fmt.Sprintf("no node has %s free for the entrypoint now", need)
}

func (c cluster) CallNode(ctx context.Context, node spec.NodeID, method string, in, out any, tail []byte) ([]byte, error) {
	p := c.peerOf(node)
	if p == nil {
		return nil, &spec.ErrorInfo{Type: "RaySystemError", Message: fmt.Sprintf("node %s is not connected", node.String()[:8])}
	}
	return p.Call(ctx, method, in, out, tail)
}

func (c cluster) SessionName() string { return c.cfg.SessionName }

func (c cluster) Address() string { return c.ready.Address }

// driverExited passes the end of an entrypoint on to the job service.
func (h *Head) driverExited(r *request) (any, gcs.Change, error) {
	var e wire.DriverExited
	if err := r.decode(&e); err != nil {
		return nil, gcs.Change{}, err
	}
	h.background(r, func(context.Context) (any, []byte, error) { return nil, nil, h.jobs.Exited(e) })
	return nil, gcs.Change{}, nil
}

// driverProgress passes what an entrypoint waits for on to the job service.
func (h *Head) driverProgress(r *request) (any, gcs.Change, error) {
	var p wire.DriverProgress
	if err := r.decode(&p); err != nil {
		return nil, gcs.Change{}, err
	}
	h.work.Go(func() { h.jobs.Progress(p) })
	return nil, gcs.Change{}, nil
}

// drivers compares the entrypoints that a node runs when it registers with
// the job table. Needs h.mu.
func (h *Head) drivers(from spec.NodeID, running []wire.DriverStarted) {
	h.work.Go(func() { h.jobs.Rejoined(from, running) })
}

func (h *Head) onNodeDead(n spec.Node) {
	h.mu.Lock()
	closing := h.closing
	if !closing {
		h.work.Go(func() { h.jobs.NodeGone(n.ID, n.DeathReason) })
	}
	h.mu.Unlock()
}
