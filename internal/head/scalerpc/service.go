package scalerpc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"ray/internal/autoscalerpb"
	"ray/internal/spec"
	"ray/internal/wire"
)

// Cluster is what the service needs of the head.
type Cluster interface {
	KV
	// State is what the head knows now, and the session's name.
	State() (s spec.Status, session string)
	// ScalesItself tells whether the head's own autoscaler runs.
	ScalesItself() bool
	// Work is what lives in the cluster beside what State shows.
	Work() Work
	// Report is told what an autoscaler outside does, every few seconds.
	// Reported is its newest report, nil if there is none or it has aged.
	Report(r *autoscalerpb.AutoscalingState)
	Reported() *autoscalerpb.AutoscalingState
	// SetConstraints replaces what request_resources asked for.
	SetConstraints(d []spec.Demand) error
	// Drain asks a node to leave.
	Drain(ctx context.Context, id spec.NodeID, d spec.Drain) (wire.DrainReply, error)
	// Resize sets how much a node has of some resources; total is all it has then.
	Resize(ctx context.Context, id spec.NodeID, r spec.Resources) (total spec.Resources, err error)
	// SetLimits stores a ClusterConfig, encoded, for who asks the key-value store.
	SetLimits(text []byte) error
}

// service implements the calls.
type service struct {
	autoscalerpb.UnimplementedAutoscalerStateServiceServer
	cluster Cluster

	mu      sync.Mutex
	version int64 // of the last state that was given out
}

// state takes a snapshot and numbers it.
func (s *service) state() (spec.Status, *autoscalerpb.ClusterResourceState, *autoscalerpb.AutoscalingState) {
	now, session := s.cluster.State()
	reported := s.cluster.Reported()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	state := resourceState(now, session)
	state.ClusterResourceStateVersion = s.version
	state.LastSeenAutoscalerStateVersion = reported.GetAutoscalerStateVersion()
	return now, state, reported
}

// GetClusterResourceState tells what there is and what is asked for.
func (s *service) GetClusterResourceState(context.Context, *autoscalerpb.GetClusterResourceStateRequest) (*autoscalerpb.GetClusterResourceStateReply, error) {
	_, state, _ := s.state()
	return &autoscalerpb.GetClusterResourceStateReply{ClusterResourceState: state}, nil
}

// GetClusterStatus adds what the autoscaler does: the one outside, if one has
// reported, or else the head's own.
func (s *service) GetClusterStatus(context.Context, *autoscalerpb.GetClusterStatusRequest) (*autoscalerpb.GetClusterStatusReply, error) {
	now, state, scaling := s.state()
	if scaling == nil && now.Autoscaling {
		scaling = scalingState(now)
		scaling.AutoscalerStateVersion = state.ClusterResourceStateVersion
		scaling.LastSeenClusterResourceStateVersion = state.ClusterResourceStateVersion
	}
	return &autoscalerpb.GetClusterStatusReply{AutoscalingState: scaling, ClusterResourceState: state}, nil
}

// ReportAutoscalingState keeps the newest report for a while, in memory: an
// autoscaler reports again every few seconds.
func (s *service) ReportAutoscalingState(_ context.Context, r *autoscalerpb.ReportAutoscalingStateRequest) (*autoscalerpb.ReportAutoscalingStateReply, error) {
	if r.AutoscalingState == nil {
		return nil, status.Error(codes.InvalidArgument, "the report has no autoscaling_state")
	}
	s.cluster.Report(r.AutoscalingState)
	return &autoscalerpb.ReportAutoscalingStateReply{}, nil
}

// ReportClusterConfig stores the limits where a driver can read them.
func (s *service) ReportClusterConfig(_ context.Context, r *autoscalerpb.ReportClusterConfigRequest) (*autoscalerpb.ReportClusterConfigReply, error) {
	if r.ClusterConfig == nil {
		return nil, status.Error(codes.InvalidArgument, "the report has no cluster_config")
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.ClusterConfig)
	if err == nil {
		err = s.cluster.SetLimits(text)
	}
	return &autoscalerpb.ReportClusterConfigReply{}, failure(err)
}

// RequestClusterResourceConstraint replaces the last one.
func (s *service) RequestClusterResourceConstraint(_ context.Context, r *autoscalerpb.RequestClusterResourceConstraintRequest) (*autoscalerpb.RequestClusterResourceConstraintReply, error) {
	demands, err := constraintDemands(r.ClusterResourceConstraint)
	if err == nil {
		err = s.cluster.SetConstraints(demands)
	}
	return &autoscalerpb.RequestClusterResourceConstraintReply{}, failure(err)
}

// DrainNode asks a node to leave; one that is gone has done so.
func (s *service) DrainNode(ctx context.Context, r *autoscalerpb.DrainNodeRequest) (*autoscalerpb.DrainNodeReply, error) {
	id, drain, err := drainOf(r)
	if err != nil {
		return nil, err
	}
	reply, err := s.cluster.Drain(ctx, id, drain)
	if err != nil {
		return nil, failure(fmt.Errorf("drain node %s: %w", id, err))
	}
	out := &autoscalerpb.DrainNodeReply{IsAccepted: reply.Accepted}
	if !reply.Accepted {
		out.RejectionReasonMessage = reply.Message
	}
	return out, nil
}

// ResizeRayletResourceInstances changes what a running node has to offer.
func (s *service) ResizeRayletResourceInstances(ctx context.Context, r *autoscalerpb.ResizeRayletResourceInstancesRequest) (*autoscalerpb.ResizeRayletResourceInstancesReply, error) {
	var id spec.NodeID
	if len(r.NodeId) != len(id) {
		return nil, invalid("resize: a node id has %d bytes, not %d", len(id), len(r.NodeId))
	}
	copy(id[:], r.NodeId)
	want := spec.Resources{} // zeros too: they take a resource away
	for name, amount := range r.Resources {
		want[name] = spec.ToFixed(amount)
		if !(amount >= 0 && amount <= maxAmount) { // NaN is neither
			return nil, invalid("resize node %s: %s is %v; it must be from 0 to %.0f", id, name, amount, maxAmount)
		}
	}
	total, err := s.cluster.Resize(ctx, id, want)
	if err != nil {
		return nil, failure(fmt.Errorf("resize node %s: %w", id, err))
	}
	return &autoscalerpb.ResizeRayletResourceInstancesReply{TotalResources: total.Floats()}, nil
}

// failure gives an error its code.
func failure(err error) error {
	var info *spec.ErrorInfo
	switch _, coded := status.FromError(err); {
	case err == nil || coded:
		return err
	case errors.As(err, &info) && info.Type == "ValueError":
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Unavailable, err.Error())
}
