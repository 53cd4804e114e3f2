package scalerpc

import (
	"strings"

	"ray/autoscaler"
	"ray/internal/autoscalerpb"
	"ray/internal/spec"
)

// headResource is a resource that only the head machine's node has.
const headResource = "node:__internal_head__"

// ViewOf is the way back from a head's state to what an autoscaler plans with.
// What the messages do not carry is left out: why a node died, names of groups.
func ViewOf(s *autoscalerpb.ClusterResourceState) (autoscaler.View, error) {
	var v autoscaler.View
	holders := map[string][]spec.NodeID{} // group → nodes that have bundles of it
	for _, n := range s.GetNodeStates() {
		node, err := nodeOf(n)
		if err != nil {
			return v, err
		}
		v.Nodes = append(v.Nodes, node)
		for label := range n.DynamicLabels {
			if group, ok := strings.CutPrefix(label, groupLabel); ok {
				holders[group] = append(holders[group], node.ID)
			}
		}
	}
	for _, r := range s.GetPendingResourceRequests() {
		d, err := demandOf(r)
		if err != nil {
			return v, err
		}
		d.Kind = "task"
		v.Demands = append(v.Demands, d)
	}
	for _, g := range s.GetPendingGangResourceRequests() {
		group, err := groupOf(g, holders)
		if err != nil {
			return v, err
		}
		v.Groups = append(v.Groups, group)
	}
	for _, c := range s.GetClusterResourceConstraints() {
		demands, err := constraintDemands(c)
		if err != nil {
			return v, err
		}
		v.Constraints = append(v.Constraints, demands...)
	}
	return v, nil
}

func nodeOf(n *autoscalerpb.NodeState) (out spec.Node, err error) {
	if len(n.NodeId) != len(out.ID) {
		return out, invalid("a node id has %d bytes, not %d", len(n.NodeId), len(out.ID))
	}
	copy(out.ID[:], n.NodeId)
	out.IP, out.Instance, out.NodeType, out.Labels = n.NodeIpAddress, n.InstanceId, n.RayNodeTypeName, n.Labels
	out.Head = n.TotalResources[headResource] > 0
	out.Total, out.Available = spec.FromFloats(n.TotalResources), spec.FromFloats(n.AvailableResources)
	out.State, out.Activity = spec.NodeAlive, n.NodeActivity
	switch n.Status {
	case autoscalerpb.NodeStatus_DEAD:
		out.State, out.DeathReason = spec.NodeDead, "the head says that it is dead"
	case autoscalerpb.NodeStatus_DRAINING:
		out.State = spec.NodeDraining
	case autoscalerpb.NodeStatus_IDLE:
		out.IdleMS = max(1, n.IdleDurationMs)
	}
	return out, nil
}

// demandOf is the way back from counted.
func demandOf(r *autoscalerpb.ResourceRequestByCount) (d spec.Demand, err error) {
	d.Resources, d.Count = spec.FromFloats(r.Request.GetResourcesBundle()), int(r.Count)
	for i, s := range r.Request.GetLabelSelectors() {
		selector, err := selectorOf(s)
		if err != nil {
			return d, err
		}
		if i > 0 {
			d.Fallback = append(d.Fallback, selector)
		} else if len(selector) > 0 {
			d.LabelSelector = selector
		}
	}
	return d, nil
}

// groupOf is the way back from gangRequest. The bundles that have a place are
// not told, only where: each becomes a bundle of nothing on its node.
func groupOf(g *autoscalerpb.GangResourceRequest, holders map[string][]spec.NodeID) (out spec.PlacementGroup, err error) {
	id, rest, _ := strings.Cut(g.Details, ":")
	out.Strategy, out.State, _ = strings.Cut(rest, "|")
	if err := out.ID.UnmarshalText([]byte(id)); err != nil {
		return out, invalid("a group's details are %q, not ID:STRATEGY|STATE: %v", g.Details, err)
	}
	for _, r := range g.Requests {
		d, err := demandOf(&autoscalerpb.ResourceRequestByCount{Request: r, Count: 1})
		if err != nil {
			return out, err
		}
		out.Bundles, out.Labels = append(out.Bundles, d.Resources), append(out.Labels, d.LabelSelector)
		out.Nodes = append(out.Nodes, spec.NodeID{})
	}
	for _, node := range holders[id] {
		out.Bundles, out.Labels, out.Nodes = append(out.Bundles, spec.Resources{}), append(out.Labels, nil), append(out.Nodes, node)
	}
	if len(holders[id]) == 0 {
		out.Nodes = nil
	}
	return out, nil
}

// ReportOf is what an autoscaler tells of itself: its part of a status.
func ReportOf(s spec.Status) *autoscalerpb.AutoscalingState { return scalingState(s) }

// LimitsOf is what a cluster file allows, as ReportClusterConfig tells it.
// Fractions of a resource are left out: the message has whole ones only.
func LimitsOf(c autoscaler.Config) *autoscalerpb.ClusterConfig {
	out := &autoscalerpb.ClusterConfig{}
	for name, t := range c.NodeTypes {
		if name == c.HeadType && t.Max == 0 {
			continue
		}
		group := &autoscalerpb.NodeGroupConfig{Name: name, MinCount: uint32(max(0, t.Min)), MaxCount: int32(t.Max), Resources: map[string]uint64{}}
		for resource, amount := range t.Resources.Floats() {
			group.Resources[resource] = uint64(amount)
		}
		out.NodeGroupConfigs = append(out.NodeGroupConfigs, group)
	}
	return out
}

// FillFrom adds what an autoscaler outside has reported to a status.
func FillFrom(s *spec.Status, r *autoscalerpb.AutoscalingState) {
	for _, p := range r.GetPendingInstanceRequests() {
		for range p.Count {
			s.Pending = append(s.Pending, spec.PendingInstance{NodeType: p.RayNodeTypeName, State: "REQUESTED", Since: p.RequestTs * 1000})
		}
	}
	for _, p := range r.GetPendingInstances() {
		s.Pending = append(s.Pending, spec.PendingInstance{
			ID: p.InstanceId, IP: p.IpAddress, NodeType: p.RayNodeTypeName, State: "RAY_INSTALLING", Reason: p.Details,
		})
	}
	for _, f := range r.GetFailedInstanceRequests() {
		s.Failures = append(s.Failures, spec.Failure{NodeType: f.RayNodeTypeName, Kind: "LaunchFailed", TimeMS: f.FailedTs * 1000, Details: f.Reason})
	}
	s.Infeasible = append(s.Infeasible, InfeasibleOf(r)...)
}

// InfeasibleOf are the demands that an autoscaler outside cannot serve.
// Requests that cannot be read are left out: they are there to be shown.
func InfeasibleOf(r *autoscalerpb.AutoscalingState) []spec.Demand {
	var out []spec.Demand
	for _, request := range r.GetInfeasibleResourceRequests() {
		if d, err := demandOf(&autoscalerpb.ResourceRequestByCount{Request: request, Count: 1}); err == nil {
			d.Kind, d.Reason = "task", "no node type of the autoscaler can hold it"
			out = append(out, d)
		}
	}
	return out
}
