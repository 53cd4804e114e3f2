package head

import (
	"testing"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// What is placed in a group counts at once: nodes tell of it later, and the
// next actor must not be sent where the last one has taken the room.
func TestActorsOfAGroupAreCountedBeforeTheirNodesTell(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	gpu := cpus(1)
	gpu[spec.GPU] = spec.FixedScale
	plain, spare := join(t, h, "preferred", cpus(1)), join(t, h, "has a GPU", gpu)
	pg := spec.PlacementGroup{ID: spec.PlacementGroupID{1}, Strategy: spec.StrictSpread, Bundles: []spec.Resources{cpus(1), cpus(1)}}
	plain.call("pg.create", pg, nil)
	var ready struct{ Ready bool }
	plain.call("pg.wait", map[string]any{"id": pg.ID, "timeout_s": 10}, &ready)
	if !ready.Ready {
		t.Fatal("not ready")
	}
	inside := spec.FromFloats(map[string]float64{"CPU_group_" + pg.ID.String(): 1})
	for _, n := range []*fakeNode{plain, spare} {
		total := inside.Clone()
		if n == spare {
			total[spec.GPU] = spec.FixedScale
		}
		n.call(wire.MethodHeartbeat, full(wire.Heartbeat{Total: total, Available: total}), nil)
	}
	for i, want := range []*fakeNode{plain, spare} {
		plain.call(wire.MethodActorCreate, wire.ActorCreate{
			Info:      spec.ActorInfo{ID: actorID(byte(i+1), spec.JobIDFromInt(1)), JobID: spec.JobIDFromInt(1), PlacementGroup: pg.ID},
			Placement: inside, Strategy: spec.Strategy{Kind: spec.StrategyPlacementGroup, PlacementGroup: pg.ID, Bundle: -1},
		}, nil)
		if place := await[wire.ActorPlace](plain, wire.MethodActorPlace, i); place.Node != want.id {
			t.Errorf("actor %d was placed on %s, where there is no room", i, place.Node)
		}
	}
}

// A node that has begun something else since its last word refuses an actor; one
// that was refused again and again is sent to wait.
func TestAnActorIsNotRefusedForEver(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	n := join(t, h, "busy", cpus(9)) // each refusal leaves a promise until the node's next word
	id := actorID(1, spec.JobIDFromInt(1))
	n.call(wire.MethodActorCreate, wire.ActorCreate{
		Info: spec.ActorInfo{ID: id, JobID: spec.JobIDFromInt(1)}, Placement: cpus(1), Strategy: spec.Strategy{Kind: spec.StrategyDefault},
	}, nil)
	for i := range refusalsMost + 1 {
		place := await[wire.ActorPlace](n, wire.MethodActorPlace, i)
		if place.Incarnation != i+1 || place.Room != (i < refusalsMost) {
			t.Fatalf("place %d: %+v", i, place)
		}
		n.note(wire.MethodActorEnded, wire.ActorEnded{ActorID: id, Incarnation: place.Incarnation, Refused: true})
	}
}
