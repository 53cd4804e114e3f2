package node

import (
	"testing"

	"ray/internal/spec"
	"ray/node/owner"
	"ray/node/pool"
)

// An actor that the head sent for the sake of room goes back if a task has taken
// it meanwhile, and stays if it was sent to wait.
func TestAnActorIsRefusedWhereTheRoomIsGone(t *testing.T) {
	job := spec.JobID{1}
	d := withoutHead(t, job) // with one CPU
	of := func(need float64, actor bool) *class {
		return &class{pool: d.pool.Class(pool.Key{Job: job}, spec.FromFloats(map[string]float64{spec.CPU: need}), actor, "")}
	}
	creation := func(need float64, room bool) *run {
		return &run{room: room, spec: &owner.Spec{Kind: owner.KindCreate, Tmpl: &owner.Template{Class: of(need, true)}}}
	}
	if d.refuses(creation(1, true)) || !d.refuses(creation(2, false)) {
		t.Error("an idle node takes what it can run, and nothing else")
	}
	d.pool.Add(&pool.Task{Class: of(1, false).pool}, 0)
	if !d.refuses(creation(1, true)) || d.refuses(creation(1, false)) || d.refuses(creation(0, true)) {
		t.Error("behind a task an actor stays only if it needs nothing or was sent to wait")
	}
}
