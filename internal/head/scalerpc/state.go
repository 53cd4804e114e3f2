package scalerpc

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"ray/internal/autoscalerpb"
	"ray/internal/spec"
)

// groupLabel begins the label that the bundles of one placement group share;
// the group's id in hex follows.
const groupLabel = "_PG_"

// resourceState is a snapshot of the head as a message, without its version.
func resourceState(s spec.Status, session string) *autoscalerpb.ClusterResourceState {
	out := &autoscalerpb.ClusterResourceState{ClusterSessionName: session}
	held := map[spec.NodeID]map[string]string{}
	for _, g := range s.Groups {
		if g.State != spec.PGPending && g.State != spec.PGRescheduling {
			continue
		}
		out.PendingGangResourceRequests = append(out.PendingGangResourceRequests, gangRequest(g))
		for _, n := range g.Nodes {
			if !n.IsZero() {
				if held[n] == nil {
					held[n] = map[string]string{}
				}
				held[n][groupLabel+g.ID.String()] = ""
			}
		}
	}
	for _, n := range s.Nodes {
		out.NodeStates = append(out.NodeStates, nodeState(n, held[n.ID]))
	}
	out.PendingResourceRequests = counted(s.Demands)
	if c := counted(s.Constraints); len(c) > 0 {
		out.ClusterResourceConstraints = []*autoscalerpb.ClusterResourceConstraint{{ResourceRequests: c}}
	}
	return out
}

// nodeState is one row of the node table. A dead node has no resources.
func nodeState(n spec.Node, groups map[string]string) *autoscalerpb.NodeState {
	out := &autoscalerpb.NodeState{
		NodeId: n.ID[:], InstanceId: n.Instance, RayNodeTypeName: n.NodeType, NodeIpAddress: n.IP,
		Labels: maps.Clone(n.Labels), DynamicLabels: groups, Status: autoscalerpb.NodeStatus_RUNNING,
	}
	if n.State == spec.NodeDead {
		out.Status, out.DynamicLabels = autoscalerpb.NodeStatus_DEAD, nil
		return out
	}
	out.TotalResources, out.AvailableResources = n.Total.Floats(), n.Available.Floats()
	out.IdleDurationMs, out.NodeActivity = n.IdleMS, slices.Clone(n.Activity)
	switch {
	case n.State == spec.NodeDraining:
		out.Status = autoscalerpb.NodeStatus_DRAINING
	case n.IdleMS > 0:
		out.Status = autoscalerpb.NodeStatus_IDLE
	}
	return out
}

// counted sums demands of one shape, whoever waits.
func counted(demands []spec.Demand) []*autoscalerpb.ResourceRequestByCount {
	var out []*autoscalerpb.ResourceRequestByCount
	at := map[string]int{}
	for _, d := range demands {
		key := d.Resources.Key() + "\x00" + selectorKey(d.LabelSelector)
		for _, f := range d.Fallback {
			key += "\x00" + selectorKey(f)
		}
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, &autoscalerpb.ResourceRequestByCount{Request: request(d)})
		}
		out[i].Count += int64(d.Count)
	}
	return out
}

func selectorKey(selector map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		b.WriteString(k + "\x01" + selector[k] + "\x01")
	}
	return b.String()
}

// request is one thing of a demand. Its selectors are the demand's own, then
// what it makes do with.
func request(d spec.Demand) *autoscalerpb.ResourceRequest {
	out := &autoscalerpb.ResourceRequest{ResourcesBundle: d.Resources.Floats()}
	if len(d.LabelSelector) > 0 || len(d.Fallback) > 0 {
		out.LabelSelectors = append(out.LabelSelectors, labelSelector(d.LabelSelector))
	}
	for _, f := range d.Fallback {
		out.LabelSelectors = append(out.LabelSelectors, labelSelector(f))
	}
	return out
}

// gangRequest asks for what a group has no place for yet.
func gangRequest(g spec.PlacementGroup) *autoscalerpb.GangResourceRequest {
	var constraints []*autoscalerpb.PlacementConstraint
	label := groupLabel + g.ID.String()
	switch g.Strategy {
	case spec.StrictSpread:
		constraints = append(constraints, &autoscalerpb.PlacementConstraint{AntiAffinity: &autoscalerpb.AntiAffinityConstraint{LabelName: label}})
	case spec.StrictPack:
		constraints = append(constraints, &autoscalerpb.PlacementConstraint{Affinity: &autoscalerpb.AffinityConstraint{LabelName: label}})
	}
	out := &autoscalerpb.GangResourceRequest{Details: g.ID.String() + ":" + g.Strategy + "|" + g.State}
	for i, bundle := range g.Bundles {
		if i < len(g.Nodes) && !g.Nodes[i].IsZero() {
			continue
		}
		r := &autoscalerpb.ResourceRequest{ResourcesBundle: bundle.Floats(), PlacementConstraints: constraints}
		if i < len(g.Labels) && len(g.Labels[i]) > 0 {
			r.LabelSelectors = []*autoscalerpb.LabelSelector{labelSelector(g.Labels[i])}
		}
		out.Requests = append(out.Requests, r)
	}
	// Newer clients read the selectors and older ones the requests.
	out.BundleSelectors = []*autoscalerpb.BundleSelector{{ResourceRequests: out.Requests}}
	return out
}

// scalingState is what the head's own autoscaler does, without versions.
func scalingState(s spec.Status) *autoscalerpb.AutoscalingState {
	out := &autoscalerpb.AutoscalingState{}
	asked := map[string]*autoscalerpb.PendingInstanceRequest{}
	for _, p := range s.Pending {
		if p.State != "QUEUED" && p.State != "REQUESTED" { // there is a machine
			out.PendingInstances = append(out.PendingInstances, &autoscalerpb.PendingInstance{
				RayNodeTypeName: p.NodeType, InstanceId: p.ID, IpAddress: p.IP, Details: cmp.Or(p.Reason, p.State),
			})
			continue
		}
		r := asked[p.NodeType]
		if r == nil {
			r = &autoscalerpb.PendingInstanceRequest{RayNodeTypeName: p.NodeType, RequestTs: p.Since / 1000}
			asked[p.NodeType] = r
			out.PendingInstanceRequests = append(out.PendingInstanceRequests, r)
		}
		r.Count++
		r.RequestTs = min(r.RequestTs, p.Since/1000)
	}
	for _, f := range s.Failures {
		if f.Kind == "LaunchFailed" { // of nodes that ended the node table tells
			out.FailedInstanceRequests = append(out.FailedInstanceRequests, &autoscalerpb.FailedInstanceRequest{
				RayNodeTypeName: f.NodeType, Count: 1, Reason: f.Details, StartTs: f.TimeMS / 1000, FailedTs: f.TimeMS / 1000,
			})
		}
	}
	for _, d := range s.Infeasible {
		out.InfeasibleResourceRequests = append(out.InfeasibleResourceRequests, request(d))
	}
	return out
}
