package scalerpc

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"

	"ray/internal/autoscalerpb"
	"ray/internal/spec"
)

// nodeService implements the part of upstream's NodeInfoGcsService that its
// GcsClient connects with, and what shows the nodes.
type nodeService struct {
	autoscalerpb.UnimplementedNodeInfoGcsServiceServer
	cluster Cluster
	version string // of upstream, as its clients compare it with theirs
}

// GetClusterId implements the service.
func (s *nodeService) GetClusterId(context.Context, *autoscalerpb.GetClusterIdRequest) (*autoscalerpb.GetClusterIdReply, error) {
	now, _ := s.cluster.State()
	id, err := hex.DecodeString(now.ClusterID)
	return &autoscalerpb.GetClusterIdReply{Status: succeeded(), ClusterId: id}, failure(err)
}

// CheckAlive implements the service.
func (s *nodeService) CheckAlive(_ context.Context, r *autoscalerpb.CheckAliveRequest) (*autoscalerpb.CheckAliveReply, error) {
	now, _ := s.cluster.State()
	alive := map[string]bool{}
	for i := range now.Nodes {
		alive[string(now.Nodes[i].ID[:])] = now.Nodes[i].State != spec.NodeDead
	}
	leads := true
	out := &autoscalerpb.CheckAliveReply{Status: succeeded(), RayVersion: s.version, IsLeader: &leads}
	for _, id := range r.NodeIds {
		out.RayletAlive = append(out.RayletAlive, alive[string(id)])
	}
	return out, nil
}

// GetAllNodeInfo implements the service.
func (s *nodeService) GetAllNodeInfo(_ context.Context, r *autoscalerpb.GetAllNodeInfoRequest) (*autoscalerpb.GetAllNodeInfoReply, error) {
	now, _ := s.cluster.State()
	out := &autoscalerpb.GetAllNodeInfoReply{Status: succeeded(), Total: int64(len(now.Nodes))}
	for i := range now.Nodes {
		info := nodeInfo(&now.Nodes[i])
		if !selected(info, r) {
			out.NumFiltered++
		} else if r.Limit == nil || *r.Limit <= 0 || int64(len(out.NodeInfoList)) < *r.Limit {
			out.NodeInfoList = append(out.NodeInfoList, info)
		}
	}
	return out, nil
}

func selected(n *autoscalerpb.GcsNodeInfo, r *autoscalerpb.GetAllNodeInfoRequest) bool {
	if r.StateFilter != nil && n.State != *r.StateFilter {
		return false
	}
	if len(r.NodeSelectors) == 0 {
		return true
	}
	return slices.ContainsFunc(r.NodeSelectors, func(s *autoscalerpb.GetAllNodeInfoRequest_NodeSelector) bool {
		switch want := s.NodeSelector.(type) {
		case *autoscalerpb.GetAllNodeInfoRequest_NodeSelector_NodeId:
			return string(want.NodeId) == string(n.NodeId)
		case *autoscalerpb.GetAllNodeInfoRequest_NodeSelector_NodeName:
			return want.NodeName == n.NodeName
		case *autoscalerpb.GetAllNodeInfoRequest_NodeSelector_NodeIpAddress:
			return want.NodeIpAddress == n.NodeManagerAddress
		case *autoscalerpb.GetAllNodeInfoRequest_NodeSelector_IsHeadNode:
			return want.IsHeadNode == n.IsHeadNode
		}
		return false
	})
}

func nodeInfo(n *spec.Node) *autoscalerpb.GcsNodeInfo {
	out := &autoscalerpb.GcsNodeInfo{
		NodeId: n.ID[:], NodeManagerAddress: n.IP, NodeManagerHostname: n.Hostname, NodeName: n.Name, InstanceId: n.Instance,
		NodeTypeName: n.NodeType, ResourcesTotal: n.Total.Floats(), StartTimeMs: uint64(n.StartMS), EndTimeMs: uint64(n.EndMS),
		IsHeadNode: n.Head, Labels: maps.Clone(n.Labels),
		StateSnapshot: &autoscalerpb.NodeSnapshot{State: autoscalerpb.NodeSnapshot_ACTIVE, IdleDurationMs: n.IdleMS, NodeActivity: slices.Clone(n.Activity)},
	}
	switch {
	case n.State == spec.NodeDead:
		out.State, out.StateSnapshot = autoscalerpb.GcsNodeInfo_DEAD, nil
		out.DeathInfo = &autoscalerpb.NodeDeathInfo{
			Reason:        autoscalerpb.NodeDeathInfo_Reason(autoscalerpb.NodeDeathInfo_Reason_value[n.DeathKind]),
			ReasonMessage: n.DeathReason,
		}
	case n.State == spec.NodeDraining:
		out.StateSnapshot.State = autoscalerpb.NodeSnapshot_DRAINING
	case n.IdleMS > 0:
		out.StateSnapshot.State = autoscalerpb.NodeSnapshot_IDLE
	}
	return out
}
