package autoscaler

import (
	"fmt"
	"strings"

	"ray/internal/spec"
)

// Report is what the autoscaler tells the cluster's status. It is a value
// that shares nothing with the manager.
type Report struct {
	NodeTypes  []spec.NodeTypeStatus
	Pending    []spec.PendingInstance
	Failures   []spec.Failure
	Infeasible []spec.Demand // with Reason
	Waiting    []Waiting
	Kept       []Kept
	Stopping   []spec.PendingInstance // instances on their way out, with the reason
	AutoStop   *spec.AutoStop         // the countdown; nil without one
	Meter      Meter
	Backoffs   []spec.Backoff // types and offerings that are left alone for now

	config  Config
	planned map[string]bool // demands of the last round, by demandKey
}

// Report describes the state after the last step.
func (m *Manager) Report() Report {
	r := Report{
		Failures: append([]spec.Failure(nil), m.failures...), Waiting: m.reply.Waiting, Kept: m.reply.Kept, config: m.config, planned: m.planned,
		Backoffs: m.backoffs(), AutoStop: m.autoStopStatus(), Meter: m.meter.clone(),
	}
	for _, name := range m.config.typeNames() {
		t := m.config.NodeTypes[name]
		r.NodeTypes = append(r.NodeTypes, spec.NodeTypeStatus{Name: name, Resources: t.Resources.Clone(), Min: t.Min, Max: t.Max})
	}
	for _, id := range m.table.ids(func(i *Instance) bool { return !i.State.Terminal() && i.State != RayRunning }) {
		row := m.table.Get(id)
		p := spec.PendingInstance{
			ID: row.CloudID, IP: row.IP, NodeType: row.NodeType, State: string(row.State), Since: row.Since().UnixMilli(), Reason: row.Reason, Again: row.Renew,
		}
		if row.State.InFlight() {
			p.Reason = row.LaunchReason
			r.Pending = append(r.Pending, p)
		} else {
			r.Stopping = append(r.Stopping, p)
		}
	}
	for _, i := range m.reply.Infeasible {
		d := i.Demand
		d.Reason = i.Reason
		r.Infeasible = append(r.Infeasible, d)
	}
	return r
}

// Explain says what is done about a demand; served tells that some node type
// can hold it. text is "" if there is nothing to add.
func (r Report) Explain(d spec.Demand) (text string, served bool) {
	key := demandKey(d)
	for _, i := range r.Infeasible {
		if demandKey(i) == key {
			return i.Reason, false
		}
	}
	for _, w := range r.Waiting {
		if demandKey(w.Demand) == key {
			return w.Reason, true
		}
	}
	served = r.planned[key] // and neither hopeless nor held back
	fitting := map[string]bool{}
	for name, t := range r.config.NodeTypes {
		fitting[name] = t.Max > 0 && t.Resources.Fits(d.Resources) && matchAny(typeLabels(name, t), d)
		served = served || fitting[name]
	}
	for _, p := range r.Pending {
		if fitting[p.NodeType] {
			return fmt.Sprintf("a machine of type %s is on its way (%s)", p.NodeType, strings.ToLower(p.State)), true
		}
	}
	return "", served
}

// ExplainGroup says what holds a placement group back; served tells that the
// autoscaler may still make room for it. known is false if the last round had
// nothing to say of the group: each bundle is then a question for Explain.
func (r Report) ExplainGroup(id spec.PlacementGroupID) (text string, served, known bool) {
	for _, w := range r.Waiting {
		if w.Kind == KindGroup && w.GroupID == id {
			return w.Reason, !w.Beyond, true
		}
	}
	return "", false, false
}

func demandKey(d spec.Demand) string { return d.Resources.Key() + "|" + selectorText(d.LabelSelector) }

// matchAny tells whether labels satisfy the demand's selector or a fallback.
func matchAny(labels map[string]string, d spec.Demand) bool {
	if matchLabels(labels, d.LabelSelector) {
		return true
	}
	for _, fallback := range d.Fallback {
		if matchLabels(labels, fallback) {
			return true
		}
	}
	return false
}
