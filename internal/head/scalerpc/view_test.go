package scalerpc

import (
	"reflect"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ray/autoscaler"
	"ray/internal/autoscalerpb"
	"ray/internal/spec"
)

// TestViewOf checks that an autoscaler outside sees what the head's own sees.
func TestViewOf(t *testing.T) {
	node := func(state string, idle int64) spec.Node {
		return spec.Node{
			NodeInfo: spec.NodeInfo{ID: spec.NewNodeID(), IP: "10.0.0.1", Instance: "i-1", NodeType: "small", Total: spec.Resources{spec.CPU: 4 * spec.FixedScale}, Labels: map[string]string{"zone": "a"}},
			State:    state, Available: spec.Resources{spec.CPU: spec.FixedScale / 2}, IdleMS: idle, Activity: []string{"it works"},
		}
	}
	head := node(spec.NodeAlive, 0)
	head.Head, head.Total[headResource] = true, spec.FixedScale
	dead := spec.Node{NodeInfo: spec.NodeInfo{ID: spec.NewNodeID(), Instance: "i-9"}, State: spec.NodeDead}
	nodes := []spec.Node{head, node(spec.NodeAlive, 7), node(spec.NodeDraining, 0), dead}
	group := spec.PlacementGroup{
		ID: spec.PlacementGroupID{1}, Strategy: spec.StrictSpread, State: spec.PGRescheduling,
		Bundles: []spec.Resources{{spec.CPU: spec.FixedScale}, {spec.GPU: spec.FixedScale}},
		Labels:  []map[string]string{nil, {"zone": "b"}}, Nodes: []spec.NodeID{nodes[1].ID, {}},
	}
	demand := spec.Demand{
		Resources: spec.Resources{spec.CPU: 2 * spec.FixedScale}, LabelSelector: map[string]string{"zone": "!in(a,b)"},
		Fallback: []map[string]string{{"zone": "a"}}, Count: 3, Kind: "task",
	}
	constraint := spec.Demand{Resources: spec.Resources{spec.GPU: spec.FixedScale}, Count: 2, Kind: "constraint"}
	got, err := ViewOf(resourceState(spec.Status{
		Nodes: nodes, Demands: []spec.Demand{demand}, Groups: []spec.PlacementGroup{group}, Constraints: []spec.Demand{constraint},
	}, "s"))
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range got.Nodes {
		want := nodes[i]
		if n.ID != want.ID || n.State != want.State || n.IdleMS != want.IdleMS || n.Head != want.Head || n.Instance != want.Instance || n.NodeType != want.NodeType {
			t.Errorf("node %d: %+v", i, n)
		}
		if want.State != spec.NodeDead && (n.Total.Key() != want.Total.Key() || n.Available.Key() != want.Available.Key() || n.Labels["zone"] != "a") {
			t.Errorf("node %d has %+v", i, n)
		}
	}
	if want := []spec.Demand{demand}; !reflect.DeepEqual(got.Demands, want) {
		t.Errorf("demands %+v, want %+v", got.Demands, want)
	}
	if want := []spec.Demand{constraint}; !reflect.DeepEqual(got.Constraints, want) {
		t.Errorf("constraints %+v, want %+v", got.Constraints, want)
	}
	if len(got.Groups) != 1 {
		t.Fatalf("groups %+v", got.Groups)
	}
	// The bundle that has a place is told as its node alone.
	g := got.Groups[0]
	if g.ID != group.ID || g.Strategy != group.Strategy || len(g.Bundles) != 2 || g.Bundles[0][spec.GPU] != spec.FixedScale || g.Labels[0]["zone"] != "b" {
		t.Errorf("group %+v", g)
	}
	if !g.Nodes[0].IsZero() || g.Nodes[1] != nodes[1].ID || !g.Bundles[1].IsEmpty() {
		t.Errorf("places of the group: %+v", g)
	}
}

// TestViewOfRefuses what it cannot read, rather than plan with half of it.
func TestViewOfRefuses(t *testing.T) {
	for name, s := range map[string]*autoscalerpb.ClusterResourceState{
		"node":  {NodeStates: []*autoscalerpb.NodeState{{NodeId: []byte("short")}}},
		"group": {PendingGangResourceRequests: []*autoscalerpb.GangResourceRequest{{Details: "nonsense"}}},
		"label": {PendingResourceRequests: []*autoscalerpb.ResourceRequestByCount{{Count: 1, Request: &autoscalerpb.ResourceRequest{
			LabelSelectors: []*autoscalerpb.LabelSelector{{LabelConstraints: []*autoscalerpb.LabelSelectorConstraint{{LabelKey: "a"}}}},
		}}}},
	} {
		if _, err := ViewOf(s); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReportsComeBack checks that the head shows of an autoscaler outside what
// it would show of its own.
func TestReportsComeBack(t *testing.T) {
	sent := spec.Status{
		Pending: []spec.PendingInstance{
			{NodeType: "small", State: "REQUESTED", Since: 2000}, {NodeType: "small", State: "QUEUED", Since: 3000},
			{ID: "i-1", IP: "10.0.0.1", NodeType: "big", State: "RAY_INSTALLING", Reason: "Copying files"},
		},
		Failures:   []spec.Failure{{NodeType: "big", Kind: "LaunchFailed", TimeMS: 5000, Details: "no capacity"}},
		Infeasible: []spec.Demand{{Resources: spec.Resources{spec.CPU: 99 * spec.FixedScale}, Count: 1}},
	}
	var got spec.Status
	FillFrom(&got, ReportOf(sent))
	if len(got.Pending) != 3 || got.Pending[0].NodeType != "small" || got.Pending[2] != sent.Pending[2] {
		t.Errorf("pending %+v", got.Pending)
	}
	if len(got.Failures) != 1 || got.Failures[0] != sent.Failures[0] {
		t.Errorf("failures %+v", got.Failures)
	}
	if len(got.Infeasible) != 1 || got.Infeasible[0].Resources[spec.CPU] != 99*spec.FixedScale {
		t.Errorf("infeasible %+v", got.Infeasible)
	}
}

// TestLimitsOf tells the node types that may be launched.
func TestLimitsOf(t *testing.T) {
	got := LimitsOf(autoscaler.Config{HeadType: "head", NodeTypes: map[string]autoscaler.NodeType{
		"head": {}, "small": {Min: 1, Max: 3, Resources: spec.Resources{spec.CPU: 2 * spec.FixedScale}},
	}})
	if len(got.NodeGroupConfigs) != 1 {
		t.Fatalf("limits %v", got)
	}
	if g := got.NodeGroupConfigs[0]; g.Name != "small" || g.MinCount != 1 || g.MaxCount != 3 || g.Resources["CPU"] != 2 {
		t.Errorf("limits %v", got)
	}
}
