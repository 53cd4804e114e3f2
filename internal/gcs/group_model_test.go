package gcs

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ray/internal/spec"
	"ray/internal/wire"
)

// groupWorld is a head with its store and nodes that reserve bundles. Orders
// travel in one queue per node; any node's next order may be handled next.
type groupWorld struct {
	t      *rapid.T
	tables *Tables
	rows   Rows
	nodes  map[spec.NodeID]map[string]bool // bundle → committed
	queue  map[spec.NodeID][]Effect
	limit  int // bundles that a node accepts
}

func (w *groupWorld) apply(c Change) {
	for _, wr := range c.Writes {
		if w.rows[wr.Table] == nil {
			w.rows[wr.Table] = map[string][]byte{}
		}
		if wr.Value == nil {
			delete(w.rows[wr.Table], wr.Key)
		} else {
			w.rows[wr.Table][wr.Key] = slices.Clone(wr.Value)
		}
	}
	for _, e := range c.Effects {
		switch e := e.(type) {
		case PrepareBundle:
			w.send(e.To, e)
		case CommitBundle:
			w.send(e.To, e)
		case ReturnBundle:
			w.send(e.To, e)
		}
	}
}

func (w *groupWorld) send(to spec.NodeID, e Effect) { w.queue[to] = append(w.queue[to], e) }

func key(b wire.Bundle) string { return fmt.Sprint(b.Group, b.Index) }

// step handles one order of a node and gives the answer to the table.
func (w *groupWorld) step(id spec.NodeID) {
	e := w.queue[id][0]
	w.queue[id] = w.queue[id][1:]
	held, alive := w.nodes[id]
	switch e := e.(type) {
	case PrepareBundle:
		ok := alive && len(held) < w.limit
		if ok {
			held[key(e.Bundle)] = false
		}
		w.apply(w.tables.BundlePrepared(e.Bundle.Group, e.Attempt, e.Bundle.Index, id, ok))
	case CommitBundle:
		_, ok := held[key(e.Bundle)]
		if ok {
			held[key(e.Bundle)] = true
		}
		w.apply(w.tables.BundleCommitted(e.Bundle.Group, e.Attempt, e.Bundle.Index, id, ok, 2))
	case ReturnBundle:
		delete(held, key(e.Bundle))
	}
}

func (w *groupWorld) busy() []spec.NodeID {
	var out []spec.NodeID
	for id, q := range w.queue {
		if len(q) > 0 {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b spec.NodeID) int { return slices.Compare(a[:], b[:]) })
	return out
}

func (w *groupWorld) living() []spec.NodeID {
	return slices.SortedFunc(maps.Keys(w.nodes), func(a, b spec.NodeID) int { return slices.Compare(a[:], b[:]) })
}

// plan is a scheduler that does not look at resources.
func (w *groupWorld) plan(pick func(n int) int) {
	nodes := w.living()
	if len(nodes) == 0 {
		return
	}
	for _, g := range w.tables.Groups() {
		if !g.Waiting() {
			continue
		}
		chosen := make([]spec.NodeID, len(g.Bundles))
		for i := range chosen {
			chosen[i] = nodes[pick(len(nodes))]
		}
		w.apply(w.tables.PlanGroup(g.Info.ID, chosen))
	}
}

// crash replaces the head by one that reads the store; orders on their way
// are lost, nodes drop what they have only prepared and register again.
func (w *groupWorld) crash() {
	tables, err := Load(w.rows)
	if err != nil {
		w.t.Fatal(err)
	}
	w.tables, w.queue = tables, map[spec.NodeID][]Effect{}
	for _, id := range w.living() {
		maps.DeleteFunc(w.nodes[id], func(_ string, committed bool) bool { return !committed })
		c, err := tables.Join(spec.NodeInfo{ID: id}, 1)
		if err != nil {
			w.t.Fatal(err)
		}
		w.apply(c)
		w.apply(tables.RejoinBundles(id, w.committed(id)))
	}
}

func (w *groupWorld) committed(id spec.NodeID) (out []wire.Bundle) {
	for _, g := range w.tables.Groups() {
		for i := range g.Bundles {
			b := wire.Bundle{Group: g.Info.ID, Index: i}
			if w.nodes[id][key(b)] {
				out = append(out, b)
			}
		}
	}
	return out
}

func (w *groupWorld) settle(pick func(n int) int) {
	for range 200 {
		w.plan(pick)
		for len(w.busy()) > 0 {
			b := w.busy()
			w.step(b[pick(len(b))])
		}
	}
}

// TestGroupsNeverLeak runs random lives of groups, nodes and heads; at the end
// nodes hold exactly what the table says.
func TestGroupsNeverLeak(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &groupWorld{t: t, tables: New(), rows: Rows{}, nodes: map[spec.NodeID]map[string]bool{}, queue: map[spec.NodeID][]Effect{}, limit: 4}
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
		fresh := byte(0)
		addNode := func() {
			fresh++
			id := spec.NodeID{fresh}
			w.nodes[id] = map[string]bool{}
			c, _ := w.tables.Join(spec.NodeInfo{ID: id}, 1)
			w.apply(c)
		}
		addNode()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			groups := w.tables.Groups()
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op == 0:
				addNode()
			case op == 1 && len(w.nodes) > 1:
				id := w.living()[pick(len(w.nodes))]
				delete(w.nodes, id)
				w.apply(w.tables.NodeDead(id, "test", false, 3))
			case op <= 3:
				pg := spec.PlacementGroup{ID: spec.PlacementGroupID{byte(len(groups) + 1)}, Bundles: make([]spec.Resources, 1+pick(3)), Detached: pick(2) == 0}
				c, err := w.tables.CreateGroup(pg, int64(len(groups)))
				if err != nil {
					t.Fatal(err)
				}
				w.apply(c)
			case op == 4 && len(groups) > 0:
				w.apply(w.tables.RemoveGroup(groups[pick(len(groups))].Info.ID, 4))
			case op == 5:
				w.crash()
			case op == 6:
				w.plan(pick)
			default:
				if b := w.busy(); len(b) > 0 {
					w.step(b[pick(len(b))])
				}
			}
		}
		w.limit = 1000
		seed := 0
		w.settle(func(n int) int { seed++; return seed % n })
		want := map[string]bool{}
		living := slices.DeleteFunc(w.tables.Groups(), func(g Group) bool { return g.Info.State == spec.PGRemoved })
		if n := len(w.tables.LivingGroups()); n != len(living) {
			t.Fatalf("%d groups live, %d are listed as living", len(living), n)
		}
		for _, g := range living {
			if g.Info.State != spec.PGCreated {
				t.Fatalf("group %v is %s at the end: %+v", g.Info.ID, g.Info.State, g.Bundles)
			}
			for i, r := range g.Bundles {
				want[fmt.Sprint(r.Node, key(wire.Bundle{Group: g.Info.ID, Index: i}))] = true
			}
		}
		got := map[string]bool{}
		for id, held := range w.nodes {
			for k, committed := range held {
				if !committed {
					t.Fatalf("node %v still holds %s, prepared only", id, k)
				}
				got[fmt.Sprint(id, k)] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("nodes hold %v, the table says %v", got, want)
		}
	})
}
