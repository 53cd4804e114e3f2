package gcs

import (
	"slices"
	"testing"

	"ray/internal/spec"
	"ray/internal/wire"
)

// TestConstructorThatEndsItsProcess uses up the restarts; a node that dies
// before the constructor began does not.
func TestConstructorThatEndsItsProcess(t *testing.T) {
	tests := map[string]struct {
		restarts int
		lose     func(s *stored, id spec.ActorID, inc int, node spec.NodeID) Change
		tries    int // places until it is dead; 0: never
	}{
		"process ends, two restarts": {2, processEnds, 3},
		"process ends, no restart":   {0, processEnds, 1},
		"process ends, for ever":     {-1, processEnds, 0},
		"node refuses": {0, func(s *stored, id spec.ActorID, inc int, node spec.NodeID) Change {
			return s.ActorEnded(wire.ActorEnded{ActorID: id, Incarnation: inc, Refused: true}, node, 5)
		}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStored()
			node := spec.NodeID{9}
			s.keep(mustJoin(s, node))
			id, o := named(1, "", false)
			o.MaxRestarts = test.restarts
			c, err := s.CreateActor(wire.ActorCreate{Info: spec.ActorInfo{ID: id, Options: o, Owner: node}}, 1)
			if s.keep(c); err != nil {
				t.Fatal(err)
			}
			tries := 0
			for ; tries < 10; tries++ {
				a, _ := s.Actor(id)
				if a.Info.State == spec.ActorDead {
					break
				}
				s.keep(s.PlaceActor(id, node, false))
				a, _ = s.Actor(id)
				s.keep(test.lose(s, id, a.Info.Incarnation, node))
			}
			want := test.tries
			if want == 0 {
				want = 10
			}
			if tries != want {
				t.Errorf("tried %d times, want %d", tries, want)
			}
		})
	}
}

func processEnds(s *stored, id spec.ActorID, inc int, node spec.NodeID) Change {
	return s.ActorEnded(wire.ActorEnded{ActorID: id, Incarnation: inc, Cause: &spec.ErrorInfo{Type: "ActorDiedError"}}, node, 5)
}

// Of actors that have ended so many stay listed, in the store too; a lower bound
// after a restart is kept from the next end on.
func TestEndedActorsAreBounded(t *testing.T) {
	s := newStored()
	node := spec.NodeID{9}
	s.keep(mustJoin(s, node))
	end := func(n byte) {
		id, o := named(n, "", false)
		c, err := s.CreateActor(wire.ActorCreate{Info: spec.ActorInfo{ID: id, Options: o, Owner: node}}, 1)
		if s.keep(c); err != nil {
			t.Fatal(err)
		}
		c, _ = s.KillActor(id, true, "test", int64(n))
		s.keep(c)
	}
	check := func(what string, want ...byte) {
		t.Helper()
		for range 2 { // as it is, and as a restart finds it
			var got []byte
			for _, a := range s.Actors() {
				got = append(got, a.Info.ID[0])
			}
			slices.Sort(got)
			if string(got) != string(want) {
				t.Errorf("%s: %v are listed, want %v", what, got, want)
			}
			kept := s.KeptActors
			s = s.reload(t)
			s.KeptActors = kept
		}
	}
	s.KeptActors = 4
	for n := range byte(6) {
		end(n + 1)
	}
	check("six ended, four kept", 3, 4, 5, 6)
	s.KeptActors = 2
	end(7)
	check("then two kept", 6, 7)
}
