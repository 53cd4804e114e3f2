package gcs

import (
	"testing"

	"ray/internal/spec"
)

// TestDeathKinds: what a node's end counts as depends on what it was asked.
func TestDeathKinds(t *testing.T) {
	idle := &spec.Drain{Reason: spec.DrainIdle, Message: "idle for long"}
	spot := &spec.Drain{Reason: spec.DrainPreempted, Message: "spot"}
	until := &spec.Drain{Reason: spec.DrainPreempted, Message: "spot", DeadlineMS: 1000}
	for _, c := range []struct {
		name     string
		drain    *spec.Drain
		expected bool
		now      int64
		kind     string
		text     string
	}{
		{"stopped", nil, true, 1, spec.DeathExpected, "why"},
		{"lost", nil, false, 1, spec.DeathUnexpected, "why"},
		{"idle", idle, true, 1, spec.DeathIdle, "idle for long"},
		{"idle, lost before it left", idle, false, 1, spec.DeathUnexpected, "why"},
		{"preempted", spot, true, 1, spec.DeathPreempted, "spot"},
		{"preempted without a deadline, lost", spot, false, 1, spec.DeathUnexpected, "why"},
		{"lost before its deadline", until, false, 999, spec.DeathUnexpected, "why"},
		{"lost at its deadline", until, false, 1000, spec.DeathPreempted, "spot (Node was forcibly preempted)"},
	} {
		kind, text := death(&spec.Node{Drain: c.drain}, "why", c.expected, c.now)
		if kind != c.kind || text != c.text {
			t.Errorf("%s: %s, %q", c.name, kind, text)
		}
	}
}

// TestPreemptionChargesNothing: an actor with one restart survives any number
// of preempted machines, and then one that just died; one without restarts none.
func TestPreemptionChargesNothing(t *testing.T) {
	tables := New()
	a := &Actor{Info: spec.ActorInfo{ID: spec.ActorID{1}, State: spec.ActorAlive, Options: spec.ActorOptions{MaxRestarts: 1}}}
	tables.setActor(a)
	end := func(preempted bool) string {
		var c Change
		row := tables.edit(spec.ActorID{1})
		row.Info.State = spec.ActorAlive
		cause := diedError(row, "its node died")
		cause.Fields["preempted"] = preempted
		tables.restartOrBury(&c, row, cause, false, 1)
		return row.Info.State
	}
	for i, c := range []struct {
		preempted bool
		want      string
	}{{true, spec.ActorRestarting}, {true, spec.ActorRestarting}, {false, spec.ActorRestarting}, {true, spec.ActorRestarting}, {false, spec.ActorDead}} {
		if got := end(c.preempted); got != c.want {
			t.Errorf("end %d: %s", i, got)
		}
	}
}
