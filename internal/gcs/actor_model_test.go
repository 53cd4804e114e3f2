package gcs

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ray/internal/spec"
	"ray/internal/wire"
)

// actorWorld is a head with its store, and nodes that own and run actors.
// Orders of the head travel in one queue per node, notes of nodes in another.
type actorWorld struct {
	t      *rapid.T
	tables *Tables
	rows   Rows
	nodes  map[spec.NodeID]*actorNode
	down   map[spec.NodeID][]Effect // head → node
	up     map[spec.NodeID][]any    // node → head
	now    int64
}

// actorNode runs incarnations and owns creation specs.
type actorNode struct {
	running map[spec.ActorID]int
	ready   map[spec.ActorID]bool // the constructor has returned
	owned   map[spec.ActorID]wire.ActorCreate
}

// started and ended are the notes of nodes.
type started wire.ActorStarted
type ended wire.ActorEnded

func (w *actorWorld) apply(c Change) {
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
		case StartActor:
			w.down[e.To] = append(w.down[e.To], e)
		case KillActor:
			w.down[e.To] = append(w.down[e.To], e)
		case ActorChanged:
			if e.Info.State == spec.ActorDead {
				for _, n := range w.nodes {
					delete(n.owned, e.Info.ID)
				}
			}
		}
	}
}

func sortedNodes[V any](m map[spec.NodeID]V) []spec.NodeID {
	return slices.SortedFunc(maps.Keys(m), func(a, b spec.NodeID) int { return slices.Compare(a[:], b[:]) })
}

// deliver handles the next order to a node.
func (w *actorWorld) deliver(id spec.NodeID) {
	e := w.down[id][0]
	w.down[id] = w.down[id][1:]
	if w.nodes[id] == nil {
		return
	}
	switch e := e.(type) {
	case StartActor:
		host := w.nodes[e.Place.Node]
		if host == nil || host.running[e.Place.ActorID] >= e.Place.Incarnation {
			return
		}
		host.running[e.Place.ActorID] = e.Place.Incarnation
		delete(host.ready, e.Place.ActorID)
	case KillActor:
		w.die(id, e.Kill.ActorID)
	}
}

// die ends a process; the node tells.
func (w *actorWorld) die(id spec.NodeID, a spec.ActorID) {
	n := w.nodes[id]
	if inc, ok := n.running[a]; ok {
		delete(n.running, a)
		delete(n.ready, a)
		w.up[id] = append(w.up[id], ended{ActorID: a, Incarnation: inc})
	}
}

// tell takes the next note of a node to the head.
func (w *actorWorld) tell(id spec.NodeID) {
	m := w.up[id][0]
	w.up[id] = w.up[id][1:]
	w.now++
	if n, ok := w.tables.Node(id); !ok || n.State == spec.NodeDead {
		return
	}
	switch m := m.(type) {
	case started:
		w.apply(w.tables.ActorStarted(wire.ActorStarted(m), id, w.now))
	case ended:
		w.apply(w.tables.ActorEnded(wire.ActorEnded(m), id, w.now))
	}
}

// construct lets one constructor return.
func (w *actorWorld) construct(id spec.NodeID) {
	n := w.nodes[id]
	for _, a := range slices.SortedFunc(maps.Keys(n.running), func(a, b spec.ActorID) int { return cmp.Compare(a[0], b[0]) }) {
		if !n.ready[a] {
			n.ready[a] = true
			w.up[id] = append(w.up[id], started{ActorID: a, Incarnation: n.running[a]})
			return
		}
	}
}

// crash replaces the head; nodes register in the given order.
func (w *actorWorld) crash(order []spec.NodeID) {
	tables, err := Load(w.rows)
	if err != nil {
		w.t.Fatal(err)
	}
	w.tables, w.down, w.up = tables, map[spec.NodeID][]Effect{}, map[spec.NodeID][]any{}
	for _, id := range order {
		n := w.nodes[id]
		c, err := tables.Join(spec.NodeInfo{ID: id}, w.now)
		if err != nil {
			w.t.Fatal(err)
		}
		w.apply(c)
		var living []wire.ActorStarted
		for a, inc := range n.running {
			if n.ready[a] {
				living = append(living, wire.ActorStarted{ActorID: a, Incarnation: inc})
			}
		}
		w.apply(tables.RejoinActors(id, slices.Collect(maps.Values(n.owned)), living, w.now))
	}
	w.apply(w.tables.ExpireClaims())
}

func (w *actorWorld) place(pick func(int) int) {
	nodes := sortedNodes(w.nodes)
	for _, a := range w.tables.WaitingActors() {
		w.apply(w.tables.PlaceActor(a.Info.ID, nodes[pick(len(nodes))], false))
	}
}

func (w *actorWorld) settle(pick func(int) int) {
	for range 100 {
		w.place(pick)
		for _, id := range sortedNodes(w.down) {
			for len(w.down[id]) > 0 {
				w.deliver(id)
			}
		}
		for _, id := range sortedNodes(w.nodes) {
			w.construct(id)
			for len(w.up[id]) > 0 {
				w.tell(id)
			}
		}
	}
}

// TestActorsLiveOnce runs random lives of actors, nodes and heads; at the end
// every living actor has exactly one process, and the dead have none.
func TestActorsLiveOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &actorWorld{t: t, tables: New(), rows: Rows{}, nodes: map[spec.NodeID]*actorNode{}, down: map[spec.NodeID][]Effect{}, up: map[spec.NodeID][]any{}}
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
		fresh, actors := byte(0), byte(0)
		addNode := func() {
			fresh++
			id := spec.NodeID{fresh}
			w.nodes[id] = &actorNode{map[spec.ActorID]int{}, map[spec.ActorID]bool{}, map[spec.ActorID]wire.ActorCreate{}}
			c, _ := w.tables.Join(spec.NodeInfo{ID: id}, 1)
			w.apply(c)
		}
		addNode()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.now++
			nodes := sortedNodes(w.nodes)
			node := nodes[pick(len(nodes))]
			switch rapid.IntRange(0, 11).Draw(t, "op") {
			case 0:
				addNode()
			case 1:
				if len(nodes) > 1 {
					delete(w.nodes, node)
					delete(w.up, node)
					w.apply(w.tables.NodeDead(node, "test", false, w.now))
				}
			case 2, 3:
				actors++
				req := wire.ActorCreate{Info: spec.ActorInfo{ID: spec.ActorID{actors}, Owner: node, Options: spec.ActorOptions{MaxRestarts: pick(4) - 1, Detached: pick(3) == 0}}}
				if req.Info.Options.Detached {
					req.Stored = []byte("spec")
				}
				w.nodes[node].owned[req.Info.ID] = req
				c, err := w.tables.CreateActor(req, w.now)
				if err != nil {
					t.Fatal(err)
				}
				w.apply(c)
			case 4:
				if actors > 0 {
					c, _ := w.tables.KillActor(spec.ActorID{byte(1 + pick(int(actors)))}, pick(2) == 0, "test", w.now)
					w.apply(c)
				}
			case 5:
				if actors > 0 {
					w.apply(w.tables.UnreferenceActor(spec.ActorID{byte(1 + pick(int(actors)))}, w.now))
				}
			case 6:
				w.crash(nodes)
			case 7:
				for _, a := range slices.SortedFunc(maps.Keys(w.nodes[node].running), func(a, b spec.ActorID) int { return cmp.Compare(a[0], b[0]) }) {
					w.die(node, a)
					break
				}
			case 8:
				w.place(pick)
			case 9:
				w.construct(node)
			case 10:
				if len(w.down[node]) > 0 {
					w.deliver(node)
				}
			default:
				if len(w.up[node]) > 0 {
					w.tell(node)
				}
			}
		}
		seed := 0
		w.settle(func(n int) int { seed++; return seed % n })
		w.check()
	})
}

func (w *actorWorld) check() {
	processes := map[spec.ActorID]int{}
	for _, n := range w.nodes {
		for a := range n.running {
			processes[a]++
		}
	}
	for _, a := range w.tables.Actors() {
		id, o := a.Info.ID, a.Info.Options
		switch a.Info.State {
		case spec.ActorAlive:
			n := w.nodes[a.Info.NodeID]
			if processes[id] != 1 || n == nil || n.running[id] != a.Info.Incarnation {
				w.t.Fatalf("actor %v is alive (%+v) with %d processes", id, a, processes[id])
			}
		case spec.ActorDead:
			if processes[id] != 0 {
				w.t.Fatalf("actor %v is dead with %d processes", id, processes[id])
			}
		default:
			w.t.Fatalf("actor %v is %s at the end: %+v", id, a.Info.State, a)
		}
		if o.MaxRestarts >= 0 && a.Info.Restarts > o.MaxRestarts {
			w.t.Fatalf("actor %v was restarted %d times of %d", id, a.Info.Restarts, o.MaxRestarts)
		}
	}
}
