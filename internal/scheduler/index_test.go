package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

// model keeps, beside a cluster, what each node has said and been promised.
type model struct {
	c      *Cluster
	random *rand.Rand
	now    time.Time
	names  []string
}

func (m *model) any(t *rapid.T) spec.NodeID {
	return nodeID(rapid.SampledFrom(m.names).Draw(t, "node"))
}

func drawNode(t *rapid.T, id spec.NodeID) Node {
	n := Node{ID: id, Labels: map[string]string{}, Pythons: []string{"3.11"}}
	n.Total = spec.FromFloats(map[string]float64{"CPU": float64(rapid.IntRange(0, 8).Draw(t, "cpu")), "GPU": float64(rapid.IntRange(0, 1).Draw(t, "gpu")), "memory": 8})
	n.Available = n.Total.Clone()
	n.Draining = rapid.IntRange(0, 9).Draw(t, "draining") == 0
	n.Labels["zone"] = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone")
	return n
}

func (m *model) update(t *rapid.T) {
	n := m.c.Node(m.any(t))
	if n == nil {
		return
	}
	free := n.Total.Clone()
	for k, v := range free {
		free[k] = v * spec.Fixed(rapid.IntRange(0, 4).Draw(t, k)) / 4
	}
	m.c.Update(n.ID, Told{Total: n.Total, Available: free, Arrived: rapid.IntRange(0, 2).Draw(t, "arrived"), Backlog: time.Duration(rapid.IntRange(0, 150).Draw(t, "backlog")) * time.Millisecond})
}

func (m *model) row(t *rapid.T) Row {
	r := Row{Count: 1, Resources: spec.FromFloats(map[string]float64{
		"CPU": float64(rapid.IntRange(0, 4).Draw(t, "need")), "GPU": float64(rapid.IntRange(0, 3).Draw(t, "needs gpu") / 3), "memory": float64(rapid.IntRange(0, 3).Draw(t, "mem")),
	})}
	r.Strategy.Kind = rapid.SampledFrom([]string{spec.StrategyDefault, spec.StrategySpread}).Draw(t, "kind")
	if rapid.Bool().Draw(t, "has a mean") {
		r.Mean = 20 * time.Millisecond
	}
	if rapid.Bool().Draw(t, "selects") {
		r.LabelSelector = map[string]string{"zone": "a"}
	}
	if rapid.Bool().Draw(t, "from") {
		r.From, r.LocalWait = m.any(t), time.Duration(rapid.IntRange(0, 100).Draw(t, "local"))*time.Millisecond
	}
	return r
}

// place checks the index's choice against a look at every node.
func (m *model) place(t *rapid.T) {
	row := m.row(t)
	if rapid.IntRange(0, 3).Draw(t, "inputs") == 0 {
		row.Inputs = []Input{{Size: 50 << 20, Nodes: []spec.NodeID{m.any(t)}}}
	}
	p := &placer{c: m.c, row: row, need: row.Resources, random: m.random}
	var best *Node
	for _, n := range m.c.all() {
		if p.wrong(n, row.LabelSelector) == "" && n.Total.Fits(p.need) && p.canTake(n) && (best == nil || p.rank(n).compare(p.rank(best)) < 0) {
			best = n
		}
	}
	var want rank
	before := map[spec.NodeID]rank{}
	for _, n := range m.c.all() {
		before[n.ID] = p.rank(n)
	}
	if best != nil {
		want = before[best.ID]
	}
	a := m.c.Place(row, m.random)
	switch {
	case best == nil && len(a.Grants) > 0:
		t.Fatalf("placed on %v, which cannot take it", a.Grants)
	case best != nil && len(a.Grants) == 0:
		t.Fatalf("not placed, but %s could take it: %s", best.ID, a.Reason)
	case best != nil && before[a.Grants[0].Node].compare(want) != 0:
		t.Fatalf("placed at rank %+v, the best was %+v", before[a.Grants[0].Node], want)
	case best == nil && a.Reason == "":
		t.Fatal("it waits without a reason")
	}
	if len(a.Grants) > 0 && rapid.Bool().Draw(t, "promised") {
		m.c.Promise(a.Grants[0].Node, Promise{row.Resources, 1, row.Mean, m.now.Add(100 * time.Millisecond), rapid.Bool().Draw(t, "tasks")})
	}
}

// What is free is always what the node said, less its promises and what was
// placed in this round.
func (m *model) check(t *rapid.T) {
	m.c.Begin()
	for _, n := range m.c.all() {
		want := n.told.Clone()
		for _, p := range n.promised {
			if !p.Until.After(m.now) {
				t.Fatalf("node %s keeps a promise that is over", n.ID)
			}
			for range p.Times {
				want.Sub(p.Need)
			}
		}
		for k, v := range n.Available {
			if v != want[k] {
				t.Fatalf("node %s: %s of %s is free, should be %s", n.ID, v, k, want[k])
			}
		}
	}
}

// TestIndexChoosesTheBest drives a cluster through joins, deaths, heartbeats,
// promises and rounds: the index must always give a node of the best rank.
func TestIndexChoosesTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{c: New(), random: rand.New(rand.NewPCG(1, 2)), now: time.Unix(1000, 0)}
		for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
			m.names = append(m.names, fmt.Sprint("n", i))
		}
		t.Repeat(map[string]func(*rapid.T){
			"join":   func(t *rapid.T) { m.c.Put(drawNode(t, m.any(t))) },
			"leave":  func(t *rapid.T) { m.c.Remove(m.any(t)) },
			"update": m.update,
			"place":  m.place,
			"place again": func(t *rapid.T) {
				for range 3 {
					m.place(t)
				}
			},
			"kept": func(t *rapid.T) {
				if n := m.c.Node(m.any(t)); n != nil && len(n.promised) > 0 {
					m.c.Kept(n.ID, n.promised[0].Need)
				}
			},
			"time": func(*rapid.T) {
				m.now = m.now.Add(60 * time.Millisecond)
				m.c.Expire(m.now)
			},
			"round": m.check,
		})
	})
}
