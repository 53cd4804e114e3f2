package head

import (
	"cmp"
	"maps"
	"slices"

	"ray/internal/scheduler"
	"ray/internal/spec"
	"ray/internal/wire"
)

// explain joins what the scheduler and the autoscaler know about a demand
// that waits. A demand that the autoscaler is about to serve is not
// infeasible. Needs h.mu.
func (h *Head) explain(a scheduler.Answer, d spec.Demand) wire.Reason {
	r := wire.Reason{Text: a.Reason, Infeasible: a.Infeasible}
	if h.scaler == nil || a.Reason == "" {
		return r
	}
	text, served := h.scaler.explain(d)
	if served {
		r.Infeasible = false
	}
	if text != "" {
		r.Text += "; " + text
	}
	return r
}

// scaler is what the head needs of the autoscaler.
type scaler interface {
	// wake asks for a round of planning soon.
	wake()
	// admits tells whether a node on the machine may join: not if the machine
	// is being taken away. It must not take the head's lock.
	admits(instance string) bool
	// explain says what the autoscaler does about a demand; served tells that
	// some node type can hold it. It must not take the head's lock.
	explain(d spec.Demand) (text string, served bool)
	// explainGroup says the same of a placement group as a whole; known is
	// false if the autoscaler has nothing to say of it.
	explainGroup(id spec.PlacementGroupID) (text string, served, known bool)
	// fill adds the autoscaler's part to a status.
	fill(s *spec.Status)
	close()
}

// wakeAutoscaler must not be called under h.mu.
func (h *Head) wakeAutoscaler() {
	h.mu.Lock()
	s := h.scaler
	h.mu.Unlock()
	if s != nil {
		s.wake()
	}
}

// demands sums what waits for a place. Needs h.mu.
func (h *Head) demands() []spec.Demand {
	var out []spec.Demand
	for _, a := range h.tables.WaitingActors() {
		if a.Create.Strategy.Kind == spec.StrategyPlacementGroup {
			continue // the group is the demand
		}
		out = append(out, spec.Demand{
			Resources: a.Create.Placement, LabelSelector: a.Create.LabelSelector, Fallback: a.Create.Fallback,
			Count: 1, Kind: "actor", Reason: a.Info.Reason, Name: a.Info.Options.ClassName, JobID: a.Info.JobID,
		})
	}
	for _, s := range h.soft {
		for _, row := range s.rows {
			if row.Strategy.Kind == spec.StrategyPlacementGroup || row.Count <= 0 {
				continue
			}
			out = append(out, spec.Demand{
				Resources: row.Resources, LabelSelector: row.LabelSelector, Fallback: row.Fallback,
				Count: row.Count, Kind: "task", Reason: s.reasons[row.Key].Text, Name: row.Name, JobID: row.JobID,
			})
		}
	}
	slices.SortStableFunc(out, func(a, b spec.Demand) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Resources.Key(), b.Resources.Key()))
	})
	return mergeDemands(out)
}

// mergeDemands sums neighbours that are equal.
func mergeDemands(in []spec.Demand) []spec.Demand {
	out := in[:0]
	for _, d := range in {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if last.Kind == d.Kind && last.Name == d.Name && last.JobID == d.JobID && last.Resources.Key() == d.Resources.Key() &&
				maps.Equal(last.LabelSelector, d.LabelSelector) && len(last.Fallback) == len(d.Fallback) {
				last.Count += d.Count
				continue
			}
		}
		out = append(out, d)
	}
	return out
}
