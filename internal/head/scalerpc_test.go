package head

import (
	"context"
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"ray/internal/autoscalerpb"
	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// runHead serves on a real port until the test ends.
func runHead(t *testing.T, cfg Config) Ready {
	t.Helper()
	ready, ended := make(chan Ready, 1), make(chan error, 1)
	cfg.SessionDir, cfg.SessionName, cfg.NoDashboard = t.TempDir(), "session_1", true
	cfg.Log, cfg.OnReady = slog.New(slog.DiscardHandler), func(r Ready) { ready <- r }
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- Run(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case r := <-ready:
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("the head does not serve")
		return Ready{}
	}
}

// realNode joins over the head's port.
func realNode(t *testing.T, address string, a wire.Auth) *fakeNode {
	t.Helper()
	s, err := wire.DialSession(t.Context(), wire.DialOptions{Dialer: wire.Dialer{Auth: a}, Address: func() string { return address }, Self: "test"})
	if err != nil {
		t.Fatal(err)
	}
	n := &fakeNode{t: t, id: spec.NewNodeID(), peer: wire.NewPeer(s, wire.PeerOptions{})}
	n.peer.HandleRest(func(_ context.Context, r *wire.Request) (any, []byte, error) {
		if r.Method == wire.MethodResize {
			var want spec.Resources
			return want, nil, r.Decode(&want)
		}
		var d spec.Drain
		if r.Method == wire.MethodDrain && r.Decode(&d) == nil && d.Reason == spec.DrainIdle {
			return wire.DrainReply{Message: "it is busy"}, nil, nil
		}
		return wire.DrainReply{Accepted: true}, nil, nil
	})
	n.peer.Start()
	t.Cleanup(func() { _ = n.peer.Close() })
	n.register(wire.RegisterRequest{Info: spec.NodeInfo{ID: n.id, Name: "one", IP: "127.0.0.1", Instance: "i-1", NodeType: "small", Total: cpus(4)}})
	return n
}

func stateClient(t *testing.T, address string, a wire.Auth) autoscalerpb.AutoscalerStateServiceClient {
	t.Helper()
	creds := insecure.NewCredentials()
	if !a.Disabled {
		creds = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}) // the test's own head
	}
	c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return autoscalerpb.NewAutoscalerStateServiceClient(c)
}

// TestAutoscalerStateService drives the whole service over the head's port, with
// TLS and a token and without both.
func TestAutoscalerStateService(t *testing.T) {
	a, err := wire.CreateToken(filepath.Join(t.TempDir(), "token"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("token", func(t *testing.T) {
		r := runHead(t, Config{TokenPath: a.Path})
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+a.Token)
		driveService(ctx, t, stateClient(t, r.Address, a), realNode(t, r.Address, a))
	})
	t.Run("disabled", func(t *testing.T) {
		off := wire.Auth{Disabled: true}
		r := runHead(t, Config{AuthDisabled: true})
		driveService(t.Context(), t, stateClient(t, r.Address, off), realNode(t, r.Address, off))
	})
}

func driveService(ctx context.Context, t *testing.T, c autoscalerpb.AutoscalerStateServiceClient, n *fakeNode) {
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n.note(wire.MethodPlaces, wire.Places{Rows: []wire.PlaceRow{
		{Key: "f", Resources: cpus(9), Strategy: spec.Strategy{Kind: spec.StrategyDefault}, Count: 3, Infeasible: true},
	}})
	n.call("pg.create", map[string]any{
		"id": "0102030405060708090a0b0c0d0e01000000", "bundles": []any{map[string]any{"CPU": 50}}, "strategy": "STRICT_SPREAD",
	}, nil)
	must(c.RequestClusterResourceConstraint(ctx, &autoscalerpb.RequestClusterResourceConstraintRequest{
		ClusterResourceConstraint: &autoscalerpb.ClusterResourceConstraint{ResourceRequests: []*autoscalerpb.ResourceRequestByCount{
			{Count: 2, Request: &autoscalerpb.ResourceRequest{ResourcesBundle: map[string]float64{"CPU": 8}}},
		}},
	}))
	got, err := c.GetClusterResourceState(ctx, &autoscalerpb.GetClusterResourceStateRequest{})
	must(got, err)
	s := got.ClusterResourceState
	if s.ClusterSessionName != "session_1" || len(s.NodeStates) != 1 || len(s.PendingResourceRequests) != 1 || len(s.PendingGangResourceRequests) != 1 || len(s.ClusterResourceConstraints) != 1 {
		t.Fatalf("state %v", s)
	}
	node := s.NodeStates[0]
	if string(node.NodeId) != string(n.id[:]) || node.InstanceId != "i-1" || node.RayNodeTypeName != "small" || node.TotalResources["CPU"] != 4 {
		t.Errorf("node %v", node)
	}
	if p := s.PendingResourceRequests[0]; p.Count != 3 || p.Request.ResourcesBundle["CPU"] != 9 {
		t.Errorf("demand %v", p)
	}
	if g := s.PendingGangResourceRequests[0]; !strings.HasSuffix(g.Details, ":STRICT_SPREAD|PENDING") || g.Requests[0].ResourcesBundle["CPU"] != 50 {
		t.Errorf("group %v", g)
	}
	if r := s.ClusterResourceConstraints[0].ResourceRequests; len(r) != 1 || r[0].Count != 2 || r[0].Request.ResourcesBundle["CPU"] != 8 {
		t.Errorf("constraint %v", r)
	}

	report := &autoscalerpb.AutoscalingState{AutoscalerStateVersion: 7, PendingInstances: []*autoscalerpb.PendingInstance{{InstanceId: "i-2"}}}
	must(c.ReportAutoscalingState(ctx, &autoscalerpb.ReportAutoscalingStateRequest{AutoscalingState: report}))
	must(c.ReportAutoscalingState(ctx, &autoscalerpb.ReportAutoscalingStateRequest{AutoscalingState: &autoscalerpb.AutoscalingState{AutoscalerStateVersion: 6}}))
	all, err := c.GetClusterStatus(ctx, &autoscalerpb.GetClusterStatusRequest{})
	must(all, err)
	if !proto.Equal(all.AutoscalingState, report) {
		t.Errorf("the report comes back as %v", all.AutoscalingState)
	}
	if v := all.ClusterResourceState; v.ClusterResourceStateVersion <= s.ClusterResourceStateVersion || v.LastSeenAutoscalerStateVersion != 7 {
		t.Errorf("versions %v after %v", v, s.ClusterResourceStateVersion)
	}

	limits := &autoscalerpb.ClusterConfig{MaxResources: map[string]uint64{"CPU": 64}}
	must(c.ReportClusterConfig(ctx, &autoscalerpb.ReportClusterConfigRequest{ClusterConfig: limits}))
	text, err := n.peer.Call(ctx, "kv.get", map[string]string{"ns": limitsNamespace, "key": limitsKey}, nil, nil)
	var stored autoscalerpb.ClusterConfig
	if err != nil || proto.Unmarshal(text, &stored) != nil || !proto.Equal(&stored, limits) {
		t.Errorf("limits %v %v", text, err)
	}
	driveDrain(ctx, t, c, n)
	resize := &autoscalerpb.ResizeRayletResourceInstancesRequest{NodeId: n.id[:], Resources: map[string]float64{"CPU": 6}}
	if reply, err := c.ResizeRayletResourceInstances(ctx, resize); err != nil || reply.TotalResources["CPU"] != 6 {
		t.Errorf("resize: %v %v", reply, err)
	}
	other := spec.NewNodeID()
	for what, bad := range map[string]*autoscalerpb.ResizeRayletResourceInstancesRequest{
		"no id": {}, "nobody": {NodeId: other[:]}, "less than none": {NodeId: n.id[:], Resources: map[string]float64{"CPU": -1}},
	} {
		if _, err := c.ResizeRayletResourceInstances(ctx, bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("resize, %s: %v", what, err)
		}
	}
}

func driveDrain(ctx context.Context, t *testing.T, c autoscalerpb.AutoscalerStateServiceClient, n *fakeNode) {
	t.Helper()
	drain := &autoscalerpb.DrainNodeRequest{NodeId: n.id[:], Reason: autoscalerpb.DrainNodeReason_DRAIN_NODE_REASON_IDLE_TERMINATION}
	reply, err := c.DrainNode(ctx, drain)
	if err != nil || reply.IsAccepted || reply.RejectionReasonMessage != "it is busy" {
		t.Errorf("a busy node: %v %v", reply, err)
	}
	drain.Reason = autoscalerpb.DrainNodeReason_DRAIN_NODE_REASON_PREEMPTION
	if reply, err = c.DrainNode(ctx, drain); err != nil || !reply.IsAccepted {
		t.Errorf("a preempted node: %v %v", reply, err)
	}
	got, err := c.GetClusterResourceState(ctx, &autoscalerpb.GetClusterResourceStateRequest{})
	if err != nil || got.ClusterResourceState.NodeStates[0].Status != autoscalerpb.NodeStatus_DRAINING {
		t.Errorf("after the drain: %v %v", got, err)
	}
	other := spec.NewNodeID()
	drain.NodeId = other[:]
	if reply, err = c.DrainNode(ctx, drain); err != nil || !reply.IsAccepted {
		t.Errorf("a node that is gone: %v %v", reply, err)
	}
}

// TestServiceAsksForTheToken lets no call through that does not bring it.
func TestServiceAsksForTheToken(t *testing.T) {
	a, err := wire.CreateToken(filepath.Join(t.TempDir(), "token"))
	if err != nil {
		t.Fatal(err)
	}
	c := stateClient(t, runHead(t, Config{TokenPath: a.Path}).Address, a)
	for name, pairs := range map[string][]string{
		"none": nil, "another": {"authorization", "Bearer " + strings.Repeat("0", 64)}, "no scheme": {"authorization", a.Token},
		"empty": {"authorization", "Bearer "}, "two": {"authorization", "Bearer " + a.Token, "authorization", "Bearer x"},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), pairs...)
		_, err := c.RequestClusterResourceConstraint(ctx, &autoscalerpb.RequestClusterResourceConstraintRequest{ClusterResourceConstraint: &autoscalerpb.ClusterResourceConstraint{}})
		if status.Code(err) != codes.Unauthenticated || strings.Contains(err.Error(), a.Token) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSilentAutoscalerIsForgotten checks that a report counts for a while only,
// and that the head's word about what cannot be served follows it.
func TestSilentAutoscalerIsForgotten(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	report := &autoscalerpb.AutoscalingState{
		AutoscalerStateVersion:     9,
		PendingInstances:           []*autoscalerpb.PendingInstance{{InstanceId: "i-1", RayNodeTypeName: "small"}},
		InfeasibleResourceRequests: []*autoscalerpb.ResourceRequest{{ResourcesBundle: map[string]float64{"CPU": 99}}},
	}
	limits := &autoscalerpb.ClusterConfig{NodeGroupConfigs: []*autoscalerpb.NodeGroupConfig{{Name: "small", MaxCount: 2, Resources: map[string]uint64{"CPU": 4}}}}
	text, err := proto.Marshal(limits)
	if err != nil {
		t.Fatal(err)
	}
	if err := (scalable{h}).SetLimits(text); err != nil {
		t.Fatal(err)
	}
	h.hearOutside(report)
	h.hearOutside(&autoscalerpb.AutoscalingState{AutoscalerStateVersion: 8}) // late
	s := h.coreStatus()
	if !s.Autoscaling || len(s.Pending) != 1 || len(s.Infeasible) != 1 || len(s.NodeTypes) != 1 || (scalable{h}).ScalesItself() {
		t.Errorf("status %+v", s)
	}
	for cpu, want := range map[float64]bool{4: true, 5: false, 99: false} {
		if text, served := h.scaler.explain(spec.Demand{Resources: spec.FromFloats(map[string]float64{"CPU": cpu})}); served != want || (text == "") != (cpu == 5) {
			t.Errorf("%v CPU: %q, %v", cpu, text, served)
		}
	}
	h.mu.Lock()
	h.forgetOutside(time.Now().Add(outsideSilence - time.Second))
	kept := h.outsideReport()
	h.forgetOutside(time.Now().Add(outsideSilence + time.Second))
	gone := h.outsideReport()
	h.mu.Unlock()
	if kept == nil || gone != nil {
		t.Errorf("before: %v, after: %v", kept, gone)
	}
	if s := h.coreStatus(); s.Autoscaling || len(s.Pending) != 0 {
		t.Errorf("status %+v", s)
	}
	h.hearOutside(&autoscalerpb.AutoscalingState{AutoscalerStateVersion: 1}) // another one, with numbers of its own
	if !h.coreStatus().Autoscaling {
		t.Error("an autoscaler that came later is not heard")
	}
}
