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
	}
}

// whyHeld tells what else than a process refers to objects here.
type whyHeld struct {
	objectstore.Census
	args     map[spec.ObjectID]bool // of unfinished tasks
	captured map[spec.ObjectID]bool // inside of other objects
}

func (d *daemon) whyHeld() whyHeld {
	w := whyHeld{Census: d.store.Census(), args: map[spec.ObjectID]bool{}, captured: map[spec.ObjectID]bool{}}
	note := func(set map[spec.ObjectID]bool, refs []spec.Ref) {
		for _, r := range refs {
			set[r.ID] = true
		}
	}
	d.own.Tasks(func(t *owner.Task) bool {
		if t.State != owner.TaskDone {
			note(w.args, t.Deps)
			note(w.args, t.Refs)
		}
		return true
	})
	for _, r := range d.runs {
		if !r.over {
			note(w.args, r.spec.Deps)
			note(w.args, r.spec.Refs)
		}
	}
	d.own.Objects(func(o *owner.Object) bool {
		note(w.captured, o.Nested)
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
	switch pinners := w.Pins[o.ID]; {
	case c != 0 && slices.Contains(pinners, uint32(c)), c == 0 && len(pinners) > 0:
		return "PINNED_IN_MEMORY"
	case pins > 0 && w.args[o.ID]:
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
	why := d.whyHeld()
	d.own.Objects(func(o *owner.Object) bool {
		local, pins, borrowers := o.Pinned()
		row := map[string]any{
			"object_id": o.ID, "object_size": int64(o.Size), "task_status": d.makerStatus(o), "call_site": cmp.Or(o.Site, "disabled"),
			"local": local, "pins": pins, "borrowers": borrowers, "in_store": o.Where == owner.Arena,
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
		d.holderRows(row, holders, func(c owner.Client) string { return why.reference(o, c) }, add)
		return true
	})
	for id, size := range why.Deleted { // its last reference is gone, not the last view of its memory
		if d.own.Object(id) != nil {
			continue
		}
		var holders []owner.Client
		for _, c := range why.Pins[id] {
			holders = append(holders, owner.Client(c))
		}
		row := map[string]any{"object_id": id, "object_size": int64(size), "task_status": "NIL", "call_site": "disabled",
			"local": 0, "pins": 0, "borrowers": 0, "in_store": true}
		d.holderRows(row, holders, func(owner.Client) string { return "PINNED_IN_MEMORY" }, add)
	}
}

// holderRows gives a row of an object for each of the clients that hold it, or
// one for this node.
func (d *daemon) holderRows(row map[string]any, holders []owner.Client, why func(owner.Client) string, add func(map[string]any)) {
	shown := 0
	give := func(typ string, pid int, c owner.Client) {
		out := maps.Clone(row)
		out["type"], out["pid"], out["reference_type"], out["attempt_number"], out["ip"], out["node_id"] = typ, pid, why(c), 0, d.cfg.NodeIP, d.self
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
