package scheduler

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"ray/internal/spec"
)

// script runs one file of testdata: `node NAME k=v … [labels] [draining]`
// lines make a cluster, then `place` and `bundles` ask.
type script struct{ c *Cluster }

func nodeID(name string) (id spec.NodeID) {
	copy(id[:], name)
	return id
}

func (s *script) name(id spec.NodeID) string { return strings.TrimRight(string(id[:]), "\x00") }

func resources(t *testing.T, text string) spec.Resources {
	r := spec.Resources{}
	for part := range strings.FieldsSeq(text) {
		name, amount, _ := strings.Cut(part, "=")
		var f spec.Fixed
		if err := f.UnmarshalJSON([]byte(amount)); err != nil {
			t.Fatalf("%q: %v", part, err)
		}
		r[name] = f
	}
	return r
}

// addNodes reads the lines of a cluster: NAME total | used | key=label … | words.
func (s *script) addNodes(t *testing.T, text string) {
	s.c = New()
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		parts := append(strings.Split(line, "|"), "", "", "")
		name, total, _ := strings.Cut(parts[0], " ")
		n := Node{ID: nodeID(name), Name: name, Total: resources(t, total), Labels: map[string]string{}, Pythons: []string{"3.11"}}
		n.Available = n.Total.Clone()
		n.Available.Sub(resources(t, parts[1]))
		for part := range strings.FieldsSeq(parts[2]) {
			k, v, _ := strings.Cut(part, "=")
			n.Labels[k] = v
		}
		for word := range strings.FieldsSeq(parts[3]) {
			k, v, _ := strings.Cut(word, "=")
			switch k {
			case "draining":
				n.Draining = true
			case "backlog":
				n.Backlog, _ = time.ParseDuration(v)
			case "python":
				n.Pythons = []string{v}
			}
		}
		s.c.Put(n)
	}
}

func list(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return strings.Join(a.Vals, " ")
		}
	}
	return ""
}

// rowJSON is a row in the script: the wire's names.
type rowJSON struct {
	Resources map[string]float64  `json:"resources"`
	Selector  map[string]string   `json:"selector"`
	Fallback  []map[string]string `json:"fallback"`
	Strategy  string              `json:"strategy"`
	Node      string              `json:"node"`
	Soft      bool                `json:"soft"`
	Hard      map[string]string   `json:"hard"`
	SoftLabel map[string]string   `json:"soft_labels"`
	Group     byte                `json:"group"`
	Bundle    int                 `json:"bundle"`
	Count     int                 `json:"count"`
	Actor     bool                `json:"actor"`
	Python    string              `json:"python"`
	From      string              `json:"from"`
	Local     string              `json:"local_wait"`
	Never     bool                `json:"infeasible_there"`
	Spares    bool                `json:"spares"`
	Mean      string              `json:"mean"`
	Input     float64             `json:"input_mb"`
	At        []string            `json:"input_at"`
}

func (s *script) row(t *testing.T, text string) Row {
	var j rowJSON
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	r := Row{
		Resources: spec.FromFloats(j.Resources), LabelSelector: j.Selector, Fallback: j.Fallback, Count: max(1, j.Count),
		Actor: j.Actor, Python: j.Python, From: nodeID(j.From), Infeasible: j.Never, Spares: j.Spares,
		Strategy: spec.Strategy{Kind: j.Strategy, NodeID: nodeID(j.Node), Soft: j.Soft, HardLabels: j.Hard, SoftLabels: j.SoftLabel, Bundle: j.Bundle},
	}
	if r.Strategy.Kind == "" {
		r.Strategy.Kind = spec.StrategyDefault
	}
	r.Strategy.PlacementGroup[0] = j.Group
	r.LocalWait, _ = time.ParseDuration(j.Local)
	r.Mean, _ = time.ParseDuration(j.Mean)
	if j.Input > 0 {
		in := Input{Size: int64(j.Input * 1e6)}
		for _, n := range j.At {
			in.Nodes = append(in.Nodes, nodeID(n))
		}
		r.Inputs = []Input{in}
	}
	return r
}

func (s *script) answer(a Answer) string {
	counts := map[string]int{}
	for _, g := range a.Grants {
		counts[s.name(g.Node)] += g.Count
	}
	var out []string
	for _, n := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%s: %d", n, counts[n]))
	}
	if a.Reason != "" {
		word := "waits"
		if a.Infeasible {
			word = "infeasible"
		}
		out = append(out, word+": "+a.Reason)
	}
	if a.Error != nil {
		out = append(out, a.Error.Error())
	}
	return strings.Join(out, "\n") + "\n"
}

func (s *script) bundles(t *testing.T, d *datadriven.TestData) string {
	req := BundleRequest{Strategy: list(d, "strategy"), SoftNode: nodeID(list(d, "soft"))}
	for line := range strings.SplitSeq(strings.TrimSpace(d.Input), "\n") {
		need, rest, _ := strings.Cut(line, "|")
		req.Bundles = append(req.Bundles, resources(t, need))
		var fixed spec.NodeID
		labels := map[string]string{}
		for word := range strings.FieldsSeq(rest) {
			if k, v, _ := strings.Cut(word, "="); k == "at" {
				fixed = nodeID(v)
			} else {
				labels[k] = v
			}
		}
		req.Fixed, req.Labels = append(req.Fixed, fixed), append(req.Labels, labels)
	}
	plan, reason, infeasible := s.c.PlaceBundles(req)
	if plan == nil {
		return fmt.Sprintf("infeasible=%v: %s\n", infeasible, reason)
	}
	var out []string
	for _, id := range plan {
		out = append(out, s.name(id))
	}
	return strings.Join(out, " ") + "\n"
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{}
		random := rand.New(rand.NewPCG(1, 2))
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "cluster":
				s.addNodes(t, d.Input)
				return "ok\n"
			case "group":
				g := Group{State: spec.PGCreated}
				for line := range strings.SplitSeq(strings.TrimSpace(d.Input), "\n") {
					node, need, _ := strings.Cut(line, " ")
					if node == "-" {
						node, g.State = "", spec.PGPending
					}
					g.Nodes, g.Bundles = append(g.Nodes, nodeID(node)), append(g.Bundles, resources(t, need))
				}
				s.c.Groups[spec.PlacementGroupID{1}] = g
				return "ok\n"
			case "place":
				return s.answer(s.c.Place(s.row(t, d.Input), random))
			case "bundles":
				return s.bundles(t, d)
			default:
				return "unknown command " + d.Cmd + "\n"
			}
		})
	})
}

func TestMatchLabel(t *testing.T) {
	for _, c := range []struct {
		value, selector string
		present, want   bool
	}{
		{"a", "a", true, true}, {"a", "b", true, false}, {"", "a", false, false},
		{"a", "!a", true, false}, {"b", "!a", true, true}, {"", "!a", false, true},
		{"b", "in(a, b)", true, true}, {"c", "in(a,b)", true, false}, {"", "in(a)", false, false},
		{"b", "!in(a, b)", true, false}, {"c", "!in(a,b)", true, true}, {"", "!in(a)", false, true},
	} {
		if got := MatchLabel(c.value, c.present, c.selector); got != c.want {
			t.Errorf("label %q (there: %v) against %q: %v", c.value, c.present, c.selector, got)
		}
	}
}

// TestPlaceNeverOvercommits places random rows: no node gives more than it has.
func TestPlaceNeverOvercommits(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		c := New()
		for i := range 1 + random.IntN(8) {
			total := spec.FromFloats(map[string]float64{"CPU": float64(random.IntN(9)), "GPU": float64(random.IntN(2))})
			c.Put(Node{ID: spec.NodeID{byte(i + 1)}, Total: total, Available: total.Clone()})
		}
		for range 5 {
			row := Row{Resources: spec.FromFloats(map[string]float64{"CPU": float64(random.IntN(4)) / 2, "GPU": float64(random.IntN(2))}), Count: 1 + random.IntN(600)}
			row.Strategy.Kind = []string{spec.StrategyDefault, spec.StrategySpread}[random.IntN(2)]
			want := row.Count
			a := c.Place(row, random)
			got := 0
			for _, g := range a.Grants {
				got += g.Count
			}
			if got > want || got < want && a.Reason == "" {
				t.Fatalf("%d of %d placed, reason %q", got, want, a.Reason)
			}
		}
		for _, n := range c.all() {
			for k, v := range n.Available {
				if v < 0 {
					t.Fatalf("node %v has %v of %s", n.ID, v, k)
				}
			}
		}
	}
}

// A free node comes before a queue on a busy one, however short its tasks were.
func TestPlaceFreeBeforeBusy(t *testing.T) {
	one := spec.Resources{spec.CPU: spec.FixedScale}
	for seed := range uint64(50) {
		c := New()
		for _, name := range []string{"a", "b"} {
			c.Put(Node{ID: nodeID(name), Total: one.Clone(), Available: one.Clone(), Pythons: []string{"3.11"}})
		}
		row := Row{Resources: one, Count: 2, From: nodeID("c"), LocalWait: 10 * time.Millisecond, Mean: 200 * time.Microsecond}
		if got := c.Place(row, rand.New(rand.NewPCG(seed, 1))).Grants; len(got) != 2 {
			t.Fatalf("seed %d: %v: one node got both", seed, got)
		}
	}
}

// A group that is being made, or whose node is away, makes nothing infeasible.
func TestPlaceInAGroupThatChanges(t *testing.T) {
	pg := spec.PlacementGroupID{1}
	row := Row{Resources: spec.Resources{"CPU_group_" + pg.String(): 2}, Count: 1, Strategy: spec.Strategy{Kind: spec.StrategyPlacementGroup, PlacementGroup: pg, Bundle: -1}}
	for _, c := range []struct {
		state string
		node  string
		want  bool
	}{{spec.PGPending, "a", false}, {spec.PGRescheduling, "a", false}, {spec.PGCreated, "gone", false}, {spec.PGCreated, "a", true}} {
		cluster := New()
		cluster.Put(Node{ID: nodeID("a"), Total: spec.Resources{}, Available: spec.Resources{}})
		cluster.Groups[pg] = Group{State: c.state, Nodes: []spec.NodeID{nodeID(c.node)}, Bundles: []spec.Resources{{spec.CPU: 1}}}
		got := cluster.Place(row, rand.New(rand.NewPCG(1, 1)))
		if got.Infeasible != c.want || got.Error != nil {
			t.Errorf("%s on %s: %+v", c.state, c.node, got)
		}
	}
}
