package scalerpc

import (
	"maps"
	"math"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"ray/internal/autoscalerpb"
	"ray/internal/spec"
)

// same compares a message with one in protobuf's text format.
func same[M proto.Message](t *testing.T, got, want M, text string) {
	t.Helper()
	if err := prototext.Unmarshal([]byte(text), want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", prototext.Format(got), prototext.Format(want))
	}
}

func cpus(n float64) spec.Resources { return spec.FromFloats(map[string]float64{"CPU": n}) }

func nodeID(b byte) (id spec.NodeID) {
	for i := range id {
		id[i] = b
	}
	return id
}

const aaaa = `"aaaaaaaaaaaaaaaaaaaaaaaaaaaa"`

func TestNodeState(t *testing.T) {
	info := spec.NodeInfo{
		ID: nodeID('a'), IP: "10.0.0.1", Instance: "i-1", NodeType: "small", Total: cpus(4), Labels: map[string]string{"zone": "x"},
	}
	const who = `node_id: ` + aaaa + ` instance_id: "i-1" ray_node_type_name: "small" node_ip_address: "10.0.0.1" labels { key: "zone" value: "x" } `
	const has = `total_resources { key: "CPU" value: 4 } available_resources { key: "CPU" value: 1.5 } `
	for name, c := range map[string]struct {
		node   spec.Node
		groups map[string]string
		want   string
	}{
		"busy":     {spec.Node{State: spec.NodeAlive, Activity: []string{"it runs a task"}}, nil, has + `status: RUNNING node_activity: "it runs a task"`},
		"idle":     {spec.Node{State: spec.NodeAlive, IdleMS: 1500}, nil, has + `status: IDLE idle_duration_ms: 1500`},
		"draining": {spec.Node{State: spec.NodeDraining, IdleMS: 20}, nil, has + `status: DRAINING idle_duration_ms: 20`},
		"dead":     {spec.Node{State: spec.NodeDead, IdleMS: 20}, map[string]string{"_PG_1": ""}, `status: DEAD`},
		"bundles":  {spec.Node{State: spec.NodeAlive}, map[string]string{"_PG_1": ""}, has + `status: RUNNING dynamic_labels { key: "_PG_1" value: "" }`},
	} {
		t.Run(name, func(t *testing.T) {
			c.node.NodeInfo, c.node.Available = info, cpus(1.5)
			same(t, nodeState(c.node, c.groups), &autoscalerpb.NodeState{}, who+c.want)
		})
	}
}

func TestResourceState(t *testing.T) {
	zone := map[string]string{"zone": "in(x, y)"}
	s := spec.Status{
		Demands: []spec.Demand{
			{Resources: cpus(1), Count: 2, Kind: "actor", Name: "A"}, {Resources: cpus(1), Count: 3, Kind: "task", Name: "f"},
			{Resources: cpus(1), Count: 1, Kind: "task", LabelSelector: zone, Fallback: []map[string]string{{"zone": "!z"}}},
		},
		Constraints: []spec.Demand{{Resources: cpus(8), Count: 2}},
	}
	same(t, resourceState(s, "session_1"), &autoscalerpb.ClusterResourceState{}, `
		cluster_session_name: "session_1"
		pending_resource_requests { count: 5 request { resources_bundle { key: "CPU" value: 1 } } }
		pending_resource_requests { count: 1 request {
			resources_bundle { key: "CPU" value: 1 }
			label_selectors { label_constraints { label_key: "zone" operator: LABEL_OPERATOR_IN label_values: ["x", "y"] } }
			label_selectors { label_constraints { label_key: "zone" operator: LABEL_OPERATOR_NOT_IN label_values: "z" } }
		} }
		cluster_resource_constraints { resource_requests { count: 2 request { resources_bundle { key: "CPU" value: 8 } } } }`)
}

func TestGroups(t *testing.T) {
	var id spec.PlacementGroupID
	hex := id.String()
	const bundle = `resources_bundle { key: "CPU" value: 2 } `
	for strategy, constraint := range map[string]string{
		"PACK": "", "SPREAD": "",
		"STRICT_PACK":   `placement_constraints { affinity { label_name: "_PG_` + hex + `" } }`,
		"STRICT_SPREAD": `placement_constraints { anti_affinity { label_name: "_PG_` + hex + `" } }`,
	} {
		g := spec.PlacementGroup{
			Strategy: strategy, State: spec.PGRescheduling, Bundles: []spec.Resources{cpus(1), cpus(2)}, Nodes: []spec.NodeID{nodeID('a'), {}},
			Labels: []map[string]string{nil, {"zone": "x"}},
		}
		selector := `label_selectors { label_constraints { label_key: "zone" operator: LABEL_OPERATOR_IN label_values: "x" } } `
		done := g
		done.State = spec.PGCreated
		got := resourceState(spec.Status{
			Groups: []spec.PlacementGroup{done, g}, Nodes: []spec.Node{{NodeInfo: spec.NodeInfo{ID: nodeID('a')}, State: spec.NodeAlive}},
		}, "")
		same(t, got, &autoscalerpb.ClusterResourceState{}, `
			node_states { node_id: `+aaaa+` status: RUNNING dynamic_labels { key: "_PG_`+hex+`" value: "" } }
			pending_gang_resource_requests {
				details: "`+hex+`:`+strategy+`|RESCHEDULING"
				requests { `+bundle+selector+constraint+` }
				bundle_selectors { resource_requests { `+bundle+selector+constraint+` } }
			}`)
	}
}

func TestScalingState(t *testing.T) {
	s := spec.Status{
		Pending: []spec.PendingInstance{
			{NodeType: "gpu", State: "REQUESTED", Since: 9_000}, {NodeType: "gpu", State: "QUEUED", Since: 7_000},
			{ID: "i-1", IP: "10.0.0.2", NodeType: "small", State: "RAY_INSTALLING", Reason: "setup (2 of 3)"},
			{ID: "i-2", NodeType: "small", State: "ALLOCATED"},
		},
		Failures: []spec.Failure{
			{NodeType: "gpu", Kind: "LaunchFailed", TimeMS: 5_000, Details: "no capacity"}, {NodeType: "gpu", Kind: "NodeTerminated", InstanceID: "i-0"},
		},
		Infeasible: []spec.Demand{{Resources: cpus(99), Count: 3}},
	}
	same(t, scalingState(s), &autoscalerpb.AutoscalingState{}, `
		pending_instance_requests { ray_node_type_name: "gpu" count: 2 request_ts: 7 }
		pending_instances { ray_node_type_name: "small" instance_id: "i-1" ip_address: "10.0.0.2" details: "setup (2 of 3)" }
		pending_instances { ray_node_type_name: "small" instance_id: "i-2" details: "ALLOCATED" }
		failed_instance_requests { ray_node_type_name: "gpu" count: 1 reason: "no capacity" start_ts: 5 failed_ts: 5 }
		infeasible_resource_requests { resources_bundle { key: "CPU" value: 99 } }`)
}

func TestSelectorsThereAndBack(t *testing.T) {
	for _, text := range []string{"x", "!x", "in(x,y)", "!in(x,y)", ""} {
		back, err := selectorOf(labelSelector(map[string]string{"zone": text}))
		if err != nil || !maps.Equal(back, map[string]string{"zone": text}) {
			t.Errorf("%q comes back as %v, %v", text, back, err)
		}
	}
}

func TestBadRequests(t *testing.T) {
	one := func(amount float64, count int64) *autoscalerpb.ResourceRequestByCount {
		return &autoscalerpb.ResourceRequestByCount{
			Count: count, Request: &autoscalerpb.ResourceRequest{ResourcesBundle: map[string]float64{"CPU": amount}},
		}
	}
	apart := one(1, 1)
	apart.Request.PlacementConstraints = []*autoscalerpb.PlacementConstraint{{}}
	odd := one(1, 1)
	odd.Request.LabelSelectors = []*autoscalerpb.LabelSelector{{LabelConstraints: []*autoscalerpb.LabelSelectorConstraint{{LabelKey: "a", LabelValues: []string{"b"}}}}}
	for name, c := range map[string]struct {
		r    *autoscalerpb.ResourceRequestByCount
		code codes.Code
	}{
		"good": {one(1, 2), codes.OK}, "nothing": {one(0, 2), codes.OK}, "none": {one(1, 0), codes.OK},
		"negative": {one(-1, 1), codes.InvalidArgument}, "NaN": {one(math.NaN(), 1), codes.InvalidArgument},
		"huge": {one(math.Inf(1), 1), codes.InvalidArgument}, "count": {one(1, -1), codes.InvalidArgument},
		"apart": {apart, codes.Unimplemented}, "operator": {odd, codes.InvalidArgument},
	} {
		demands, err := constraintDemands(&autoscalerpb.ClusterResourceConstraint{ResourceRequests: []*autoscalerpb.ResourceRequestByCount{c.r}})
		if status.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if want := name == "good"; want != (len(demands) == 1 && demands[0].Count == 2 && demands[0].Resources.Key() == cpus(1).Key()) {
			t.Errorf("%s: %v", name, demands)
		}
	}
	id := nodeID('a')
	for name, r := range map[string]*autoscalerpb.DrainNodeRequest{
		"id":       {NodeId: []byte("short"), Reason: 1},
		"deadline": {NodeId: id[:], Reason: 1, DeadlineTimestampMs: -1},
		"reason":   {NodeId: id[:]},
	} {
		if _, _, err := drainOf(r); status.Code(err) != codes.InvalidArgument {
			t.Errorf("drain, bad %s: %v", name, err)
		}
	}
	got, d, err := drainOf(&autoscalerpb.DrainNodeRequest{NodeId: id[:], Reason: 2, ReasonMessage: "spot", DeadlineTimestampMs: 5})
	if err != nil || got != id || d != (spec.Drain{Reason: spec.DrainPreempted, Message: "spot", DeadlineMS: 5}) {
		t.Errorf("drain: %v %v %v", got, d, err)
	}
}
