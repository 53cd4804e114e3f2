package owner

import (
	"bytes"
	"slices"
	"testing"

	"ray/internal/spec"
)

// word serves f, or keeps it while the object is frozen.
func (n *simNode) word(id spec.ObjectID, f func()) {
	switch {
	case n.s.Frozen(id):
		n.later = append(n.later, f)
	case !n.s.Disowned(id):
		f()
	}
}

func (n *simNode) borrowed(by spec.NodeID, id spec.ObjectID) {
	n.word(id, func() {
		if !n.s.BorrowedBy(id, by) {
			n.unknown(by, id)
		}
		n.send(by, func(m *simNode) { m.s.BorrowAcked(id) })
	})
}

// leave begins a drain: the clients go, and once nothing is being made any
// more the node bequeaths what it owns.
func (n *simNode) leave() {
	n.leaving = true
	for client := range n.holds {
		n.s.ClientGone(client, nil)
		delete(n.holds, client)
	}
	n.pump()
}

// drainOn takes the next step of a drain.
func (n *simNode) drainOn() {
	if !n.leaving || n.dead || n.heir != nil || n.s.estate.frozen != nil || n.legacies > 0 || len(n.runs) > 0 || !n.s.Final() {
		return
	}
	for _, o := range n.s.objects {
		if o.hold {
			n.offer(o)
			return
		}
	}
	var heirs []*simNode
	for _, m := range n.c.nodes {
		if m != n && !m.dead && !m.leaving {
			heirs = append(heirs, m)
		}
	}
	if len(heirs) == 0 {
		return
	}
	heir := heirs[n.c.rng.Intn(len(heirs))]
	all := n.s.Bequeath()
	for _, b := range all {
		n.keep(heir.id, b.ID.String(), b.Value.Refs)
	}
	n.send(heir.id, func(h *simNode) { h.inherit(n, all) })
	n.pump()
}

// inherit takes what from leaves, unless this node has gone that way itself.
func (n *simNode) inherit(from *simNode, all []Bequest) {
	if n.s.estate.frozen != nil || n.s.estate.left {
		n.send(from.id, func(from *simNode) {
			for _, b := range all {
				from.arrived(n.id, b.ID.String())
			}
			from.s.Thaw()
			for _, f := range from.later {
				f()
			}
			from.later = nil
		})
		return
	}
	n.legacies++
	left := 1
	taken := func() {
		if left--; left == 0 {
			n.legacies--
			n.send(from.id, func(from *simNode) { from.handedOver(n) })
		}
	}
	for _, b := range all {
		left++
		b.Borrowers = slices.Clone(b.Borrowers)
		primary := func() {
			n.s.MakePrimary(b.ID, from.id)
			taken()
		}
		if !n.s.Inherit(from.id, b, primary) {
			primary()
		}
		n.s.Adopt(from.id, b.Value.Refs, simTaken{from.id, b.ID.String()})
	}
	taken()
}

// offer asks the owner of a copy that is held here to take it.
func (n *simNode) offer(o *Object) {
	id := o.ID
	n.send(o.Owner, func(m *simNode) {
		m.word(id, func() {
			if m.s.Object(id) == nil {
				m.send(n.id, func(n *simNode) { n.s.Unhold(id) })
				return
			}
			primary := func() { m.s.MakePrimary(id, n.id) }
			if !m.s.Bring(spec.Ref{ID: id}, primary) {
				primary()
			}
		})
	})
}

func (n *simNode) handedOver(heir *simNode) {
	n.later = nil
	n.s.HandedOver(heir.id)
	n.heir = heir
	n.pump()
}

// tellHeirs is the head's word, which comes to each node at its own time but
// in the same order; a node that everybody has heard of may end.
func (c *simCluster) tellHeirs() {
	for _, n := range c.nodes {
		if n.dead || n.heir == nil || n.gone || len(n.transit[n.heir.id]) > 0 {
			continue
		}
		n.gone = true
		for _, m := range c.nodes {
			if m != n && !m.dead {
				m.s.SetHeir(n.id, n.heir.id)
				m.pump()
			}
		}
	}
}

// checkLeft: nobody has lost anything to a drain.
func (c *simCluster) checkLeft() {
	for _, n := range c.nodes {
		for _, o := range n.s.objects {
			if !n.dead && bytes.Contains(o.Blob, []byte("OwnerDied")) {
				c.t.Fatalf("node %d has lost %s of node %d: %s", n.id[0], o.ID, o.Owner[0], o.Blob)
			}
		}
	}
}

func TestReachableStaysWhileNodesDrain(t *testing.T) {
	left := 0
	for seed := range int64(120) {
		c := newSimCluster(t, seed, 4)
		c.leaves = true
		for range 250 {
			c.step(false)
			c.nodes[1+c.rng.Intn(3)].drainOn()
			if c.rng.Intn(4) == 0 {
				c.tellHeirs()
			}
			c.check()
			c.checkLeft()
			for _, n := range c.nodes {
				if n.gone && !n.dead && len(n.runs) == 0 && c.rng.Intn(8) == 0 {
					left++
					c.kill(n)
				}
			}
		}
		c.run(0, false)
	}
	if left < 20 {
		t.Fatalf("only %d nodes left", left)
	}
}

func TestACallOfAnActorWithoutAPlaceIsCancelled(t *testing.T) {
	w := newWorld(t, 1)
	a := spec.ActorID{9}
	one, two := w.call(1, a, 1, 0), w.call(1, a, 2, 0)
	w.s.Cancel(one, false)
	if one.State != TaskDone || two.State == TaskDone {
		t.Fatalf("states %d and %d: only the first call was cancelled", one.State, two.State)
	}
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: w.self, Incarnation: 1})
	if got := calls(w.s.Effects()); string(got) != "\x02" {
		t.Fatalf("sent %v, want the second call only", got)
	}
}

func TestStreamsOfAClientThatIsGoneHaveNoReader(t *testing.T) {
	w := newWorld(t, 1)
	tmpl := &Template{Template: spec.Template{Name: "stream", Streaming: true}}
	stream := &Task{Spec: Spec{ID: w.taskID(3), NReturns: 1, Tmpl: tmpl}}
	w.s.Submit(stream, 1)
	plain := &Task{Spec: Spec{ID: w.taskID(4), NReturns: 1, Tmpl: &Template{Template: spec.Template{Name: "plain"}}}}
	w.s.Submit(plain, 1)
	other := &Task{Spec: Spec{ID: w.taskID(5), NReturns: 1, Tmpl: tmpl}}
	w.s.Submit(other, 2)
	if got := w.s.ClientGone(1, nil); len(got) != 1 || got[0] != stream.ID {
		t.Fatalf("without a reader: %v, want the stream of client 1", got)
	}
}

func TestWhatIsLostWithOneNodeIsMadeInOrder(t *testing.T) {
	for range 20 { // the objects of a node are lost in no certain order
		w := newWorld(t, 1)
		far := spec.NodeID{2}
		tmpl := &Template{Template: spec.Template{Name: "f", MaxRetries: 3}}
		remote := func() []Result {
			return []Result{{Index: 1, Value: Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{far}}}}
		}
		f := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Tmpl: tmpl}}
		w.s.Submit(f, 1)
		g := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Deps: []spec.Ref{w.ref(f.ID.Return(1))}, Tmpl: tmpl}}
		w.s.Submit(g, 1)
		w.pump()
		w.s.Done(f, 0, StatusOK, remote(), 0)
		w.pump()
		w.s.Done(g, 0, StatusOK, remote(), 0)
		w.running = nil
		w.s.Get(1, 77, []spec.Ref{w.ref(g.ID.Return(1))}, false)
		w.s.Effects() // the pull has not ended when its source is dead
		w.s.NodeDead(far, "")
		w.pump()
		if len(w.running) != 1 || w.running[0] != f {
			t.Fatalf("%d tasks run again, want only the one whose result the other needs", len(w.running))
		}
	}
}
