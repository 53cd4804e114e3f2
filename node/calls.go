package node

import (
	"cmp"
	"encoding/json"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/runtimeenv"
)

// clientCall serves a CALL or NOTE of a client. What this node does not know
// itself goes on to the head.
func (d *daemon) clientCall(c *client, m *wire.Call, out *wire.Out) {
	id, method := m.ID, string(m.Method)
	var v any
	var err error
	switch method {
	case "task.cancel":
		err = d.cancelCall(m.JSON)
	case "objects.locations":
		v, err = d.locations(m.JSON)
	case "objects.free":
		err = d.freeCall(m.JSON)
	case "pg.wait", "pg.remove":
		if !d.groupHere(method, m.JSON) {
			d.passOn(c, m, out)
			return
		}
		v = map[string]any{"ready": true}
	case "runtime_env.check":
		var in struct {
			RuntimeEnv json.RawMessage `json:"runtime_env"`
		}
		if err = json.Unmarshal(m.JSON, &in); err == nil {
			err = runtimeenv.Check(in.RuntimeEnv)
		}
	case "actor.init_error", "actor.repr", "actor.left":
		d.actorWord(c, method, m)
	case "call.waits":
		err = d.callWaits(c, m.JSON)
	case "task.cancelled":
		err = d.taskCancelled(c, m.JSON)
	case "task.raised":
		err = d.taskRaised(c, m.JSON)
	case "stack":
		d.stackText(c, m)
	case "metrics.record":
		err = d.recordMetrics(m.JSON)
	case "ref.site":
		err = d.refSites(c, m.JSON)
	case "driver.finish":
		c.finished = true
	default:
		d.passOn(c, m, out)
		return
	}
	if id == 0 {
		return
	}
	out.Append(func(b []byte) []byte { return wire.AppendReply(b, id, v, nil, err) })
	if out == c.out {
		d.mark(c)
	} else {
		_ = out.Flush()
	}
}

// passOn sends a call to the head and its answer back.
func (d *daemon) passOn(c *client, m *wire.Call, out *wire.Out) {
	id, method := m.ID, string(m.Method)
	text := json.RawMessage(append([]byte(nil), m.JSON...))
	text = d.withJob(c, method, text)
	tail := append([]byte(nil), m.Tail...)
	d.head.async(method, text, tail, func(r wire.Reply, err error) {
		if id == 0 {
			return
		}
		if err != nil {
			out.Append(func(b []byte) []byte { return wire.AppendReply(b, id, nil, nil, err) })
		} else {
			r.ID = id
			out.Append(r.Append)
		}
		_ = out.Flush()
	})
}

// withJob adds the caller's job to calls that need it.
func (d *daemon) withJob(c *client, method string, text json.RawMessage) json.RawMessage {
	if c.job == nil {
		return text
	}
	switch method {
	case "pg.create":
		var pg spec.PlacementGroup
		if json.Unmarshal(text, &pg) == nil {
			pg.JobID, pg.Root = cmp.Or(pg.JobID, c.job.id), c.root()
			if b, err := json.Marshal(pg); err == nil {
				return b
			}
		}
	case "job.info":
		if b, err := json.Marshal(map[string]any{"job_id": c.job.id}); err == nil {
			return b
		}
	}
	return text
}

func (d *daemon) cancelCall(text []byte) error {
	var in struct {
		ObjectID  spec.ObjectID `json:"object_id"`
		Owner     spec.NodeID   `json:"owner"`
		Force     bool          `json:"force"`
		Recursive bool          `json:"recursive"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	id := in.ObjectID.TaskID()
	if in.Force && id.IsActorTask() {
		return &spec.ErrorInfo{Type: "ValueError", Message: "force=True is not supported for actor tasks."}
	}
	if !in.Owner.IsZero() && in.Owner != d.self {
		d.toPeer(in.Owner, func(b []byte) []byte { return appendStop(b, pCancel, id, 0, in.Force, in.Recursive) })
		return nil
	}
	d.cancel(id, in.Force, in.Recursive)
	return nil
}

// cancel ends a task that is owned here and, if asked, its children.
func (d *daemon) cancel(id spec.TaskID, force, recursive bool) {
	if t := d.own.Task(id); t != nil {
		if recursive && !t.Node.IsZero() && t.Node != d.self {
			d.toPeer(t.Node, func(b []byte) []byte { return appendStop(b, pChildren, id, 0, force, true) })
		}
		d.own.Cancel(t, force && t.Kind == owner.KindTask)
	}
	if recursive {
		d.cancelChildren(id, force)
	}
}

func (d *daemon) cancelChildren(id spec.TaskID, force bool) {
	if r := d.runs[id]; r != nil {
		r.tree = &force
	}
	for _, t := range d.own.Children(id) {
		if t.Kind != owner.KindCreate {
			d.cancel(t.ID, force, true)
		}
	}
}

func (d *daemon) locations(text []byte) (any, error) {
	var in struct {
		IDs []spec.ObjectID `json:"ids"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, err
	}
	out := map[string]any{}
	for _, id := range in.IDs {
		o := d.own.Object(id)
		if o == nil || !o.Known() {
			continue
		}
		nodes := append([]spec.NodeID{}, o.Locs...)
		if o.Where == owner.Arena {
			nodes = append(nodes, d.self)
		}
		out[id.String()] = map[string]any{"nodes": nodes, "size": o.Size, "did_spill": d.store.Has(id) && !d.store.InMemory(id)}
	}
	return out, nil
}

func (d *daemon) freeCall(text []byte) error {
	var in struct {
		IDs []spec.ObjectID `json:"ids"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	for _, id := range in.IDs {
		d.own.Free(id)
	}
	return nil
}

// actorWord keeps what a worker says about its actor.
func (d *daemon) actorWord(c *client, method string, m *wire.Call) {
	if c.worker == nil || c.worker.actor == nil {
		return
	}
	h := c.worker.actor
	if method == "actor.left" {
		h.left = true
		return
	}
	var in struct {
		Repr string `json:"repr"`
		Text string `json:"text"`
	}
	if json.Unmarshal(m.JSON, &in) != nil {
		return
	}
	if method == "actor.repr" {
		h.repr = in.Repr
		if h.alive {
			d.head.notify(wire.MethodActorStarted, d.started(h))
		}
		return
	}
	h.initText = in.Text
	if h.initText == "" {
		h.initText = string(m.Tail)
	}
}

// taskCancelled: the order has reached the task. Children that it submitted before that have been heard of now, and
// are cancelled with it; what it submits from here on, to tidy up, is not.
func (d *daemon) taskCancelled(c *client, text []byte) error {
	var in struct {
		TaskID spec.TaskID `json:"task_id"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	if r := d.runs[in.TaskID]; r != nil && r.tree != nil && c.worker != nil && r.worker() == c.worker {
		d.cancelChildren(in.TaskID, *r.tree)
	}
	return nil
}
