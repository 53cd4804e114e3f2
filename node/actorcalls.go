package node

import (
	"encoding/json"
	"slices"

	"ray/internal/spec"
	"ray/node/owner"
)

// sendCall sends an actor call to the node where the actor lives.
func (d *daemon) sendCall(t *owner.Task, node spec.NodeID, inc int) {
	if node != d.self {
		d.forward(t, node, inc)
		return
	}
	r, ok := t.Run.(*run)
	if !ok || r.over || r.attempt != t.Attempt || r.actor != nil {
		r = &run{task: t, spec: &t.Spec}
		t.Run = r
	}
	r.attempt, r.inc, r.caller = t.Attempt, inc, uint64(t.Client)
	t.Node = spec.NodeID{}
	d.hostCall(r)
}

// hostCall takes a call for an actor that lives here. A call for an
// incarnation that is over is dropped: its caller hears of the end.
func (d *daemon) hostCall(r *run) {
	h := d.hosted[r.spec.ID.ActorID()]
	if h == nil || h.inc != r.inc {
		d.unpinForeign(r)
		return
	}
	r.actor = h
	r.over = false
	r.Task.Data = r
	if len(r.spec.Deps) == 0 && len(h.pending) == 0 && h.alive {
		d.execCall(h, r)
		return
	}
	d.runs[r.spec.ID] = r
	h.pending = append(h.pending, r)
	d.queueRun(r)
}

// callReady: the arguments of a waiting call are there.
func (d *daemon) callReady(r *run) { d.flushCalls(r.actor) }

// flushCalls begins the calls that may begin. Calls of one caller keep their
// order unless the actor runs them out of order.
func (d *daemon) flushCalls(h *hosted) {
	if !h.alive || len(h.pending) == 0 {
		return
	}
	anyOrder := h.tmpl.Actor != nil && h.tmpl.Actor.OutOfOrder
	var stuck []callerKey
	kept := h.pending[:0]
	for _, r := range h.pending {
		k := callerKey{r.from, r.caller}
		if r.over {
			continue
		}
		if r.missing > 0 || (!anyOrder && slices.Contains(stuck, k)) {
			stuck = append(stuck, k)
			kept = append(kept, r)
			continue
		}
		d.execCall(h, r)
	}
	clear(h.pending[len(kept):])
	h.pending = kept
}

type callerKey struct {
	from   spec.NodeID
	caller uint64
}

func (d *daemon) execCall(h *hosted, r *run) {
	if h.worker == nil || h.worker.client == nil {
		d.dropRun(r)
		return
	}
	d.runs[r.spec.ID] = r
	h.seq++
	r.seq = h.seq
	h.calls[h.seq] = r
	d.exec(h.worker, r, h.seq, h.worker.pw.Epoch)
}

// callWaits: an actor that runs one call after the other has been told to
// cancel one that waits, and will not run it. It is answered now; what the
// worker says of it when its turn comes counts no more.
func (d *daemon) callWaits(c *client, text []byte) error {
	var in struct {
		TaskID spec.TaskID `json:"task_id"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	r := d.runs[in.TaskID]
	if r == nil || r.actor == nil || r.actor.worker == nil || r.actor.worker != c.worker || r.actor.calls[r.seq] != r || c.slot < 0 {
		return nil
	}
	if r.seq > d.store.Begun(c.slot) {
		d.endRun(r, outcome{status: owner.StatusCancelled})
	}
	return nil
}
