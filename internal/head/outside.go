package head

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"ray/internal/autoscalerpb"
	"ray/internal/head/scalerpc"
	"ray/internal/spec"
)

// outsideSilence is how long an autoscaler outside counts after its last
// report: six rounds of upstream's.
const outsideSilence = 30 * time.Second

// outside stands for an autoscaler in another process, which the head knows by
// its reports. It needs no lock of its own: the head's guards it.
type outside struct {
	report *autoscalerpb.AutoscalingState
	heard  time.Time
	groups []*autoscalerpb.NodeGroupConfig // what it may launch, if it has said so
}

// hearOutside takes a report. An older version than the last is of an
// autoscaler that another has replaced, unless that one is silent.
func (h *Head) hearOutside(report *autoscalerpb.AutoscalingState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, _ := h.scaler.(*outside)
	switch {
	case h.scaler == nil:
		o = &outside{}
		h.scaler = o
		h.kick() // what seemed hopeless may not be
	case o == nil: // the head scales by itself, and says so when it is asked
		return
	case report.AutoscalerStateVersion < o.report.AutoscalerStateVersion:
		return
	}
	o.report, o.heard = report, time.Now()
	if text, ok := h.tables.KVGet(limitsNamespace, limitsKey); ok {
		var limits autoscalerpb.ClusterConfig
		if proto.Unmarshal(text, &limits) == nil {
			o.groups = limits.NodeGroupConfigs
		}
	}
}

// forgetOutside drops an autoscaler that has been silent for too long. Needs h.mu.
func (h *Head) forgetOutside(now time.Time) {
	if o, ok := h.scaler.(*outside); ok && now.Sub(o.heard) >= outsideSilence {
		h.scaler = nil
		h.event("WARNING", "autoscaler", "The autoscaler outside the head has not reported for "+outsideSilence.String()+": nothing is launched until it is back.")
		h.kick()
	}
}

// outsideReport is the last report that counts; nil if there is none. Needs h.mu.
func (h *Head) outsideReport() *autoscalerpb.AutoscalingState {
	if o, ok := h.scaler.(*outside); ok {
		return o.report
	}
	return nil
}

// wake implements scaler: it asks again by itself.
func (o *outside) wake() {}

func (o *outside) close() {}

// admits implements scaler: what is taken away is drained first.
func (o *outside) admits(string) bool { return true }

// explain implements scaler.
func (o *outside) explain(d spec.Demand) (text string, served bool) {
	for _, i := range scalerpc.InfeasibleOf(o.report) {
		if sameNeed(i, d) {
			return i.Reason, false
		}
	}
	fits := func(nodeType string) bool {
		return slices.ContainsFunc(o.groups, func(g *autoscalerpb.NodeGroupConfig) bool {
			return g.MaxCount != 0 && (nodeType == "" || g.Name == nodeType) && amounts(g).Fits(d.Resources)
		})
	}
	for _, p := range o.report.GetPendingInstances() {
		if fits(p.RayNodeTypeName) {
			return "a machine of type " + p.RayNodeTypeName + " is on its way", true
		}
	}
	for _, p := range o.report.GetPendingInstanceRequests() {
		if fits(p.RayNodeTypeName) {
			return "a machine of type " + p.RayNodeTypeName + " was asked for", true
		}
	}
	return "", len(o.groups) == 0 || fits("") // one that does not say what it has may have it
}

func amounts(g *autoscalerpb.NodeGroupConfig) spec.Resources {
	floats := make(map[string]float64, len(g.Resources))
	for name, amount := range g.Resources {
		floats[name] = float64(amount)
	}
	return spec.FromFloats(floats)
}

// explainGroup implements scaler: reports name no groups.
func (o *outside) explainGroup(spec.PlacementGroupID) (text string, served, known bool) {
	return "", false, false
}

// fill implements scaler.
func (o *outside) fill(s *spec.Status) {
	scalerpc.FillFrom(s, o.report)
	for _, g := range o.groups {
		s.NodeTypes = append(s.NodeTypes, spec.NodeTypeStatus{Name: g.Name, Resources: amounts(g), Min: int(g.MinCount), Max: int(g.MaxCount)})
	}
}

var _ scaler = (*outside)(nil)
