package node

import (
	"cmp"
	"maps"
	"slices"

	"ray/internal/objectstore"
	"ray/internal/spec"
	"ray/node/owner"
)

// storeRow is this node's object store for the state API, in bytes and seconds.
func (d *daemon) storeRow() map[string]any {
	st := d.store.Stats()
	return map[string]any{
		"node_id": d.self, "ip": d.cfg.NodeIP, "capacity": st.Capacity, "used": st.Used, "objects": st.Objects,
		"primary": d.store.Census().Primary, "fallback": st.Overflow, "spilled": st.Spilled,
		"spilled_total": st.SpilledTotal, "spilled_objects_total": st.SpilledObjects, "spill_seconds": st.SpillTime.Seconds(),
		"restored_total": st.RestoredTotal, "restored_objects_total": st.RestoredObjects, "restore_seconds": st.RestoreTime.Seconds(),
		"fetches_wait": st.Waiting > 0 || len(d.adm.homes) > 0,
	}
}

// whyHeld tells what else than a process refers to objects here.
type whyHeld struct {
	objectstore.Census
	args     map[spec.ObjectID]owner.Client // of unfinished tasks, and a client that submitted one; 0: none here
	captured map[spec.ObjectID]bool         // inside of other objects
}

func (d *daemon) whyHeld() whyHeld {
	w := whyHeld{Census: d.store.Census(), args: map[spec.ObjectID]owner.Client{}, captured: map[spec.ObjectID]bool{}}
	note := func(c owner.Client, refs []spec.Ref) {
		for _, r := range refs {
			w.args[r.ID] = max(c, w.args[r.ID])
		}
	}
	d.own.Tasks(func(t *owner.Task) bool {
		if t.State != owner.TaskDone {
			note(t.Client, t.Deps)
			note(t.Client, t.Refs)
		}
		return true
	})
	for _, r := range d.runs {
		if !r.over {
			note(0, r.spec.Deps)
			note(0, r.spec.Refs)
		}
	}
	d.own.Objects(func(o *owner.Object) bool {
		for _, r := range o.Nested {
			w.captured[r.ID] = true
		}
		return true
	})
	return w
}

// reference is upstream's word for why a client, or with 0 this node, keeps an
// object: the strongest of its reasons.
func (w *whyHeld) reference(o *owner.Object, c owner.Client) string {
	if id := o.ID.TaskID(); id.IsActorTask() && o.ID.Index() == 1 && id == spec.ActorCreationTaskID(id.ActorID()) {
		return "ACTOR_HANDLE"
	}
	_, pins, _ := o.Pinned()
	_, arg := w.args[o.ID]
	switch pinners := w.Pins[o.ID]; {
	case c != 0 && slices.Contains(pinners, uint32(c)), c == 0 && len(pinners) > 0:
		return "PINNED_IN_MEMORY"
	case pins > 0 && arg:
		return "USED_BY_PENDING_TASK"
	case c != 0:
		return "LOCAL_REFERENCE"
	case w.captured[o.ID]:
		return "CAPTURED_IN_OBJECT"
	case pins > 0:
		return "USED_BY_PENDING_TASK"
	case o.Where == owner.Arena:
		return "PINNED_IN_MEMORY"
	}
	return "LOCAL_REFERENCE"
}

// makerStatus is upstream's word for the state of the task that makes o.
func (d *daemon) makerStatus(o *owner.Object) string {
	t := o.Creator()
	switch {
	case o.ID.TaskID().IsPut():
		return "NIL"
	case t == nil || t.State == owner.TaskDone:
		return "FINISHED"
	case t.State == owner.TaskWaiting:
		return "PENDING_ARGS_AVAIL"
	case !t.Node.IsZero() || t.State == owner.TaskSent:
		return "SUBMITTED_TO_WORKER"
	}
	if r, _ := t.Run.(*run); r != nil && r.started != 0 {
		return "SUBMITTED_TO_WORKER"
	}
	return "PENDING_NODE_ASSIGNMENT"
}

// objectRows lists each object once for each process here that refers to it or
// has its memory in use, or once for this node if only something else does.
// The size of what is not made yet is -1.
func (d *daemon) objectRows(add func(map[string]any)) {
	why, handles := d.whyHeld(), d.ownHandles()
	d.own.Objects(func(o *owner.Object) bool {
		local, pins, borrowers := o.Pinned()
		row := map[string]any{
			"object_id": o.ID, "object_size": int64(o.Size), "task_status": d.makerStatus(o), "local": local, "pins": pins, "borrowers": borrowers, "in_store": o.Where == owner.Arena,
		}
		if !o.Known() && o.Size == 0 {
			row["object_size"] = -1
		}
		var holders []owner.Client
		o.Holders(func(c owner.Client) { holders = append(holders, c) })
		for _, c := range why.Pins[o.ID] {
			if !slices.Contains(holders, owner.Client(c)) {
				holders = append(holders, owner.Client(c))
			}
		}
		for _, c := range []owner.Client{why.args[o.ID], handles[o.ID]} {
			if c != 0 && !slices.Contains(holders, c) {
				holders = append(holders, c)
			}
		}
		delete(handles, o.ID)
		d.holderRows(row, holders, func(c owner.Client) (string, string) { return why.reference(o, c), o.Site(c) }, add)
		return true
	})
	for id, c := range handles { // of an actor whose creation is owned elsewhere
		d.holderRows(bareRow(id, -1), []owner.Client{c}, func(owner.Client) (string, string) { return "ACTOR_HANDLE", "" }, add)
	}
	for id, size := range why.Deleted { // its last reference is gone, not the last view of its memory
		if d.own.Object(id) != nil {
			continue
		}
		var holders []owner.Client
		for _, c := range why.Pins[id] {
			holders = append(holders, owner.Client(c))
		}
		row := bareRow(id, int64(size))
		row["in_store"] = true
		d.holderRows(row, holders, func(owner.Client) (string, string) { return "PINNED_IN_MEMORY", "" }, add)
	}
}

// bareRow is the row of an object of which nothing else is known here.
func bareRow(id spec.ObjectID, size int64) map[string]any {
	return map[string]any{"object_id": id, "object_size": size, "task_status": "NIL", "local": 0, "pins": 0, "borrowers": 0, "in_store": false}
}

// ownHandles are the handles that actors here have of themselves, as objects,
// with their processes.
func (d *daemon) ownHandles() map[spec.ObjectID]owner.Client {
	out := map[spec.ObjectID]owner.Client{}
	for id, h := range d.hosted {
		if h.alive && h.worker != nil && h.worker.client != nil {
			out[spec.ActorCreationTaskID(id).Return(1)] = owner.Client(h.worker.client.num)
		}
	}
	return out
}

// holderRows gives a row of an object for each of the clients that hold it, or
// one for this node. why gives the type of its reference and where that was made.
func (d *daemon) holderRows(row map[string]any, holders []owner.Client, why func(owner.Client) (typ, site string), add func(map[string]any)) {
	shown := 0
	give := func(typ string, pid int, c owner.Client) {
		out := maps.Clone(row)
		reference, site := why(c)
		out["type"], out["pid"], out["reference_type"], out["call_site"] = typ, pid, reference, cmp.Or(site, "disabled")
		out["attempt_number"], out["ip"], out["node_id"] = 0, d.cfg.NodeIP, d.self
		add(out)
		shown++
	}
	for _, num := range holders {
		switch c := d.clients[num]; {
		case c == nil:
		case c.worker != nil:
			give("WORKER", c.hello.PID, num)
		default:
			give("DRIVER", c.hello.PID, num)
		}
	}
	if shown == 0 {
		give("DRIVER", d.pid, 0)
	}
}
