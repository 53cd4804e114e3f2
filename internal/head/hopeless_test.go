package head

import (
	"strings"
	"testing"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// TestHopelessGroup: what waits in a group that nothing can make fails after a
// while; a node that joins later makes it all the same.
func TestHopelessGroup(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{GroupPatienceMS: 200})
	a := join(t, h, "one", cpus(1))
	id := spec.PlacementGroupID{7}
	a.call("pg.create", spec.PlacementGroup{ID: id, Strategy: "PACK", Bundles: []spec.Resources{cpus(4)}}, nil)
	inside := spec.Strategy{Kind: spec.StrategyPlacementGroup, PlacementGroup: id, Bundle: -1}
	a.note(wire.MethodPlaces, wire.Places{Rows: []wire.PlaceRow{{Key: "k", Resources: cpus(0), Strategy: inside, Count: 1, Infeasible: true}}})
	var why string
	eventually(t, "an error for what waits inside", func() bool {
		for i := range a.got(wire.MethodGrants) {
			for _, r := range await[wire.Grants](a, wire.MethodGrants, i).Reasons {
				if r.Error != nil {
					why = r.Error.Type + ": " + r.Error.Message
				}
			}
		}
		return why != ""
	})
	for _, part := range []string{"TaskUnschedulableError", "no node has CPU: 4", "no autoscaler"} {
		if !strings.Contains(why, part) {
			t.Errorf("%q lacks %q", why, part)
		}
	}
	join(t, h, "large", cpus(4))
	eventually(t, "the group is made", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		g, _ := h.tables.Group(id)
		return g.Info.State == spec.PGCreated && h.giveUp[id].why == ""
	})
}

// TestGroupBeyondLimits: an autoscaler helps a group that waits for a machine
// to end, and cannot help one that its limits exclude.
func TestGroupBeyondLimits(t *testing.T) {
	for _, beyond := range []bool{false, true} {
		h := startHead(t, gcs.NewMemory(), Config{GroupPatienceMS: 1})
		id := spec.PlacementGroupID{7}
		h.mu.Lock()
		h.scaler = fakeScaler{groups: map[spec.PlacementGroupID]bool{id: beyond}}
		h.mu.Unlock()
		a := join(t, h, "one", cpus(1))
		a.call("pg.create", spec.PlacementGroup{ID: id, Strategy: "PACK", Bundles: []spec.Resources{cpus(4)}}, nil)
		var p hopeless
		var reason string
		eventually(t, "the group is judged", func() bool {
			h.kick()
			h.mu.Lock()
			defer h.mu.Unlock()
			g, _ := h.tables.Group(id)
			reason, p = g.Info.Reason, h.giveUp[id]
			return reason != "" && (p.why != "") == beyond
		})
		for _, part := range []string{"no node has CPU: 4", "limit reached"} {
			if !strings.Contains(reason, part) || beyond && !strings.Contains(p.why, part) {
				t.Errorf("beyond %v: %q lacks %q (%q)", beyond, reason, part, p.why)
			}
		}
		if strings.Contains(p.why, "no autoscaler") {
			t.Errorf("there is an autoscaler: %q", p.why)
		}
	}
}
