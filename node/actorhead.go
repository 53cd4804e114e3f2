package node

import (
	"bytes"
	"encoding/json"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// createActor announces an actor to the head.
func (d *daemon) createActor(t *owner.Task) {
	c := t.Tmpl.Class.(*class)
	o := t.Tmpl.Actor
	if o == nil {
		o = &spec.ActorOptions{}
	}
	id := t.ID.ActorID()
	if o.Detached {
		d.detached[id] = true
	}
	req := wire.ActorCreate{
		Info: spec.ActorInfo{ID: id, JobID: t.ID.JobID(), Options: *o, State: spec.ActorPending, Owner: d.self,
			Resources: t.Tmpl.Resources, PlacementGroup: c.lease.pg},
		Root: t.Tmpl.Root, Placement: c.place, Strategy: t.Tmpl.Strategy, LabelSelector: t.Tmpl.LabelSelector, Fallback: t.Tmpl.Fallback,
	}
	if j := d.jobs[t.ID.JobID()]; j != nil {
		req.Python = d.pythonOf(j.id)
		if o.Detached && o.MaxRestarts != 0 {
			req.Stored = d.storedSpec(j, t)
		}
	}
	d.head.async(wire.MethodActorCreate, req, nil, func(r wire.Reply, err error) {
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			info := wire.InfoOf(err)
			d.locked(func() {
				d.own.ActorUpdate(spec.ActorInfo{ID: id, State: spec.ActorDead, Death: info, Options: *o, Incarnation: 1 << 30})
			})
			return
		}
		d.watchActor(id) // not before: the head must know it
	})
	d.own.Watched(id)
}

// creationFailed tells the head that a constructor cannot run.
func (d *daemon) creationFailed(t *owner.Task, blob []byte) {
	id := t.ID.ActorID()
	cause := &spec.ErrorInfo{Type: "ActorDiedError", Message: "The actor's constructor could not run, because an argument failed.", Fields: map[string]any{"actor_id": id.String(), "init_failed": true}}
	if e := wire.ErrorOf(blob); e != nil {
		cause.Message = e.Message
		if e.Fields["error"] != nil { // an argument failed: whoever reads it tells which
			cause.Fields["error"], cause.Fields["tasks"] = e.Fields["error"], e.Fields["tasks"]
		} else if e.Type != "" && e.Type != "TaskCancelledError" {
			cause.Type = e.Type
		}
	}
	a := d.own.Actor(id)
	inc := 0
	if a != nil {
		inc = a.Incarnation
	}
	d.head.notify(wire.MethodActorEnded, wire.ActorEnded{ActorID: id, Incarnation: inc, Cause: cause, InitFailed: true})
	d.head.async("actor.kill", map[string]any{"actor_id": id, "no_restart": true, "reason": cause.Message}, nil, func(wire.Reply, error) {})
	info := spec.ActorInfo{ID: id, State: spec.ActorDead, Death: cause, Incarnation: 1 << 30}
	if t.Tmpl.Actor != nil {
		info.Options = *t.Tmpl.Actor
	}
	d.own.ActorUpdate(info)
}

// watchActor asks the head for an actor's row and its changes.
func (d *daemon) watchActor(id spec.ActorID) {
	d.head.async(wire.MethodActorWatch, wire.ActorRef{ActorID: id}, nil, func(r wire.Reply, err error) {
		if err == nil {
			err = r.Err()
		}
		var info spec.ActorInfo
		if err == nil {
			err = json.Unmarshal(r.JSON, &info)
		}
		if err != nil {
			if a := wire.InfoOf(err); a.Type == "ActorHandleNotFoundError" || a.Type == "ValueError" {
				d.actorUnknown(id, a)
			}
			return
		}
		if info.State != "" {
			d.locked(func() { d.own.ActorUpdate(info) })
		}
	})
}

// actorUnknown: the head has no such actor. Its creation may be on its way if
// it is owned here; otherwise its calls fail.
func (d *daemon) actorUnknown(id spec.ActorID, e *spec.ErrorInfo) {
	d.locked(func() {
		if a := d.own.Actor(id); a != nil && a.Creation == nil {
			d.own.ActorUpdate(spec.ActorInfo{ID: id, State: spec.ActorDead, Incarnation: 1 << 30,
				Death: &spec.ErrorInfo{Type: "ActorDiedError", Message: e.Message, Fields: map[string]any{"actor_id": id.String()}}})
		}
	})
}

// storedCreation is a creation spec that can be started without its owner.
type storedCreation struct {
	Job      jobInfo         `json:"job"`
	Template json.RawMessage `json:"template"`
	Code     []byte          `json:"code"`
	Payload  []byte          `json:"payload"`
}

// storedSpec is nil if the constructor takes references: those have an owner.
func (d *daemon) storedSpec(j *job, t *owner.Task) []byte {
	if len(t.Deps)+len(t.Refs) > 0 {
		return nil
	}
	b, err := json.Marshal(storedCreation{Job: j.info, Template: t.Tmpl.JSON, Code: d.functions[t.Tmpl.FunctionID], Payload: t.Payload})
	if err != nil || len(b) > 16<<20 {
		return nil
	}
	return b
}

// placeStored starts a detached actor whose owner is gone.
func (d *daemon) placeStored(p wire.ActorPlace) error {
	var s storedCreation
	if err := json.Unmarshal(p.Stored, &s); err != nil {
		return err
	}
	j := d.job(s.Job)
	t, err := d.template(j, s.Template)
	if err != nil {
		return err
	}
	if !t.FunctionID.IsZero() {
		d.functions[t.FunctionID] = s.Code
	}
	d.detached[p.ActorID] = true
	sp := &owner.Spec{ID: spec.ActorCreationTaskID(p.ActorID), Kind: owner.KindCreate, NReturns: 1, Tmpl: t, Payload: bytes.Clone(s.Payload)}
	d.host(&run{spec: sp, inc: p.Incarnation, room: p.Room, from: d.self})
	return nil
}
