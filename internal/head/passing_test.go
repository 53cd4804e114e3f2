package head

import (
	"maps"
	"testing"

	"ray/internal/gcs"
	"ray/internal/spec"
)

func TestPassing(t *testing.T) {
	node := func(n byte) spec.NodeID { return spec.NodeID{n} }
	var nodes []spec.Node
	for n := byte(1); n <= 6; n++ {
		nodes = append(nodes, spec.Node{NodeInfo: spec.NodeInfo{ID: node(n)}})
	}
	got := passing(nodes,
		[]gcs.Actor{{Info: spec.ActorInfo{NodeID: node(1), State: spec.ActorAlive}}, {Info: spec.ActorInfo{NodeID: node(2), State: spec.ActorDead}}},
		[]gcs.Group{{Info: spec.PlacementGroup{Nodes: []spec.NodeID{node(3), {}}}}},
		[]spec.Job{{Status: spec.JobRunning, NodeID: node(4)}, {Status: spec.JobSucceeded, NodeID: node(5)}})
	if want := map[spec.NodeID]bool{node(2): true, node(5): true, node(6): true}; !maps.Equal(got, want) {
		t.Errorf("passing %v, want %v", got, want)
	}
}
