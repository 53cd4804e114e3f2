package head

import (
	"maps"
	"testing"

	"ray/internal/gcs"
	"ray/internal/head/scalerpc"
	"ray/internal/spec"
	"ray/internal/wire"
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

// An autoscaler outside is told what lives in the cluster.
func TestWorkOutside(t *testing.T) {
	off := wire.Auth{Disabled: true}
	r := runHead(t, Config{AuthDisabled: true})
	n := realNode(t, r.Address, off)
	client, err := scalerpc.Dial(r.Address, off)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	outside := &alone{autoscaling: &autoscaling{}, head: client}
	wants := func(drivers int, passing map[spec.NodeID]bool) {
		t.Helper()
		v, err := outside.View(t.Context())
		if err != nil || v.Drivers != drivers || !maps.Equal(v.Passing, passing) {
			t.Errorf("%d drivers, passing %v, %v; want %d and %v", v.Drivers, v.Passing, err, drivers, passing)
		}
	}
	wants(0, map[spec.NodeID]bool{n.id: true})
	n.register(wire.RegisterRequest{
		Info: spec.NodeInfo{ID: n.id, Name: "one", IP: "127.0.0.1", Instance: "i-1", NodeType: "small", Total: cpus(4)},
		Jobs: []spec.Job{{JobID: spec.JobID{7}, Status: spec.JobRunning, NodeID: n.id}},
	})
	wants(1, map[spec.NodeID]bool{})
	outside.view = outside
	for id, want := range map[string]bool{"i-1": true, "i-2": false, "": false} {
		if got, err := outside.joined(t.Context(), id); err != nil || got != want {
			t.Errorf("a node of the machine %q has joined: %v, %v", id, got, err)
		}
	}
}
