package autoscaler

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(seconds int) time.Time { return time.Unix(1000+int64(seconds), 0) }

// Every state can reach an end, so that no instance is stuck for ever.
func TestEveryStateLeadsToAnEnd(t *testing.T) {
	for from := range edges {
		seen := map[State]bool{}
		var reaches func(State) bool
		reaches = func(s State) bool {
			if s.Terminal() {
				return true
			}
			seen[s] = true
			for _, next := range edges[s] {
				if !seen[next] && reaches(next) {
					return true
				}
			}
			return false
		}
		if !reaches(from) {
			t.Errorf("%s leads to no terminal state", from)
		}
	}
}

func TestEdgesNameKnownStates(t *testing.T) {
	for from, list := range edges {
		for _, next := range list {
			if !next.Known() {
				t.Errorf("%s → %s: no such state", from, next)
			}
			if from.Terminal() {
				t.Errorf("the terminal state %s has an edge to %s", from, next)
			}
		}
	}
}

func TestTableRefusesOtherEdges(t *testing.T) {
	for from := range edges {
		for next := range edges {
			table, _ := NewTable([]Instance{{ID: "i", CloudID: "m", State: from, History: []Change{{State: from}}}})
			err := table.Move(at(0), "i", next, "test")
			if (err == nil) != from.CanBecome(next) {
				t.Errorf("%s → %s: error %v", from, next, err)
			}
			if err != nil && table.Get("i").State != from {
				t.Errorf("%s → %s was refused but changed the row", from, next)
			}
		}
	}
}

func TestTableKeepsHistoryAndVersions(t *testing.T) {
	table, _ := NewTable(nil)
	if err := table.Add(at(0), Instance{ID: "i", NodeType: "cpu"}, "demand"); err != nil {
		t.Fatal(err)
	}
	if err := table.Add(at(0), Instance{ID: "i"}, "again"); err == nil {
		t.Error("added an id twice")
	}
	if err := table.Move(at(3), "i", Requested, "asked"); err != nil {
		t.Fatal(err)
	}
	row := table.Get("i")
	want := []Change{{Queued, at(0).UnixMilli(), "demand"}, {Requested, at(3).UnixMilli(), "asked"}}
	if diff := cmp.Diff(want, row.History); diff != "" {
		t.Error(diff)
	}
	if row.Version != 2 || table.Version() != 2 || !row.Since().Equal(at(3)) {
		t.Errorf("version %d of %d, since %s", row.Version, table.Version(), row.Since())
	}
	changed, _ := table.Dirty()
	if len(changed) != 1 || changed[0].State != Requested {
		t.Errorf("dirty rows %+v", changed)
	}
	table.Clean()
	if changed, removed := table.Dirty(); len(changed)+len(removed) > 0 {
		t.Error("still dirty after Clean")
	}
}

func TestHistoryIsBounded(t *testing.T) {
	table, _ := NewTable([]Instance{{ID: "i", CloudID: "m", State: RayRunning, History: []Change{{State: Queued, Reason: "first"}}}})
	for range 200 {
		for _, next := range []State{RayStopRequested, RayRunning} {
			if err := table.Move(at(0), "i", next, "refused"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if h := table.Get("i").History; len(h) != maxHistory || h[0].Reason != "first" {
		t.Errorf("%d entries, the first is %+v", len(h), h[0])
	}
}

func TestEndedRowsExpire(t *testing.T) {
	table, _ := NewTable(nil)
	_ = table.Add(at(0), Instance{ID: "i"}, "")
	_ = table.Move(at(1), "i", Terminated, "not wanted")
	table.Clean()
	table.Expire(at(60), time.Minute)
	if table.Get("i") == nil {
		t.Fatal("expired too early")
	}
	table.Expire(at(61), time.Minute)
	if _, removed := table.Dirty(); table.Get("i") != nil || len(removed) != 1 {
		t.Errorf("not expired; removed %v", removed)
	}
}

func TestRowsSurviveStorage(t *testing.T) {
	table, _ := NewTable(nil)
	_ = table.Add(at(0), Instance{ID: "i", NodeType: "cpu", CloudID: "m", LaunchHash: "h", Adopted: true}, "found")
	text, err := json.Marshal(table.All())
	if err != nil {
		t.Fatal(err)
	}
	var rows []Instance
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	again, notes := NewTable(rows)
	if diff := cmp.Diff(table.All(), again.All()); diff != "" || len(notes) > 0 || again.Version() != table.Version() {
		t.Errorf("%s %v", diff, notes)
	}
}

// Rows of a newer program: a machine is never forgotten.
func TestUnknownStates(t *testing.T) {
	table, notes := NewTable([]Instance{{ID: "a", CloudID: "m", State: "RAY_HIBERNATING"}, {ID: "b", State: "RAY_DREAMING"}})
	if row := table.Get("a"); row == nil || row.State != RayRunning {
		t.Errorf("a: %+v", row)
	}
	if table.Get("b") != nil || len(notes) != 2 {
		t.Errorf("b: %+v, notes %v", table.Get("b"), notes)
	}
}
