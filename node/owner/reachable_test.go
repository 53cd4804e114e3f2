package owner

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"ray/internal/spec"
)

// step does one random thing on one node.
func (c *simCluster) step(kills bool) {
	for range c.rng.Intn(4) {
		c.deliverOne()
	}
	n := c.nodes[c.rng.Intn(len(c.nodes))]
	if n.dead {
		return
	}
	client := Client(10 + c.rng.Intn(2))
	what := c.rng.Intn(9)
	if n.leaving && what != 4 && what != 8 {
		return
	}
	switch what {
	case 0, 1:
		n.put(client)
	case 2, 3:
		n.submit(client)
	case 4, 5:
		if len(n.runs) > 0 {
			i := c.rng.Intn(len(n.runs))
			x := n.runs[i]
			n.runs = slices.Delete(n.runs, i, i+1)
			n.finish(x)
		}
	case 6:
		for _, r := range n.some(client, 3) {
			n.s.Release(client, r.ID, 1)
			delete(n.holds[client], r.ID)
		}
	case 7:
		if refs := n.some(client, 2); len(refs) > 0 {
			c.next++
			n.s.Get(client, c.next, refs, false)
		}
	case 8:
		switch {
		case len(n.pulls) > 0:
			n.fetch()
		case kills && n != c.nodes[0] && c.rng.Intn(60) == 0:
			c.kill(n)
			return
		case c.leaves && n != c.nodes[0] && !n.leaving && c.rng.Intn(12) == 0:
			n.leave()
		case c.rng.Intn(20) == 0:
			n.s.ClientGone(client, nil)
			delete(n.holds, client)
		}
	}
	n.pump()
}

func (c *simCluster) taskID(n *simNode, kind byte) spec.TaskID {
	c.next++
	return spec.TaskID{0: byte(c.next), 1: byte(c.next >> 8), 2: byte(c.next >> 16), 3: kind, 4: n.id[0]}
}

func (n *simNode) put(client Client) {
	id := n.c.taskID(n, 1).Return(1)
	v := Value{Where: Inline, Blob: []byte{0}, Refs: n.some(client, 2)}
	if n.c.rng.Intn(2) == 0 {
		v.Where, v.Size = Arena, 1<<20
		n.arena[id] = true
	}
	n.s.Put(client, id, v)
	n.own(client, id)
}

// own notes what Put and Submit have delivered.
func (n *simNode) own(client Client, id spec.ObjectID) {
	if n.holds[client] == nil {
		n.holds[client] = map[spec.ObjectID]spec.Ref{}
	}
	n.holds[client][id] = spec.Ref{ID: id, Owner: n.id}
}

func (n *simNode) submit(client Client) {
	t := &Task{Spec: Spec{ID: n.c.taskID(n, 2), NReturns: 1 + n.c.rng.Intn(2), Deps: n.some(client, 2), Refs: n.some(client, 2),
		Tmpl: &Template{Template: spec.Template{Name: "f", MaxRetries: n.c.rng.Intn(4)}}}}
	n.s.Submit(t, client)
	for i := range t.NReturns {
		n.own(client, t.ID.Return(uint32(i+1)))
	}
}

// check: whatever a client holds, directly or inside something that it holds,
// is known to its owner, and has a copy where its owner says so.
func (c *simCluster) check() {
	for _, n := range c.nodes {
		if n.dead {
			continue
		}
		for _, refs := range n.holds {
			seen := map[spec.ObjectID]bool{}
			for _, r := range refs {
				c.reachable(n, r, seen)
			}
		}
	}
}

func (c *simCluster) reachable(n *simNode, r spec.Ref, seen map[spec.ObjectID]bool) {
	if seen[r.ID] {
		return
	}
	seen[r.ID] = true
	own := c.node(r.Owner)
	for own.heir != nil {
		own = own.heir
	}
	for _, at := range []*simNode{n, own} {
		if at.dead {
			continue
		}
		o := at.s.Object(r.ID)
		switch {
		case o == nil:
			c.t.Fatalf("node %d has forgotten %s of node %d, which a client of node %d refers to", at.id[0], r.ID, r.Owner[0], n.id[0])
		case bytes.Contains(o.Blob, []byte("ReferenceCountingAssertionError")):
			c.t.Fatalf("node %d: %s was freed too early", at.id[0], r.ID)
		case o.Where == Arena && !at.arena[r.ID]:
			c.t.Fatalf("node %d: the copy of %s was freed too early", at.id[0], r.ID)
		case o.Where == Remote && at == own && !o.sought:
			for _, loc := range o.Locs {
				if m := c.node(loc); !m.dead && !m.arena[r.ID] {
					c.t.Fatalf("node %d counts on a copy of %s at node %d, which is gone", at.id[0], r.ID, loc[0])
				}
			}
		}
		for _, inner := range o.Nested {
			c.reachable(at, inner, seen)
		}
	}
}

// drain lets everything go and end.
func (c *simCluster) drain() {
	for _, n := range c.nodes {
		if n.dead {
			continue
		}
		for round := range 100_000 {
			busy := c.deliverOne()
			c.tellHeirs()
			for _, m := range c.nodes {
				if m.dead {
					continue
				}
				for client := range m.holds {
					m.s.ClientGone(client, nil)
					delete(m.holds, client)
					busy = true
				}
				m.pump()
				for len(m.pulls) > 0 {
					m.fetch()
					busy = true
				}
				for len(m.runs) > 0 {
					x := m.runs[0]
					m.runs = m.runs[1:]
					m.finish(x)
					busy = true
				}
			}
			if !busy {
				break
			}
			if round == 99_999 {
				c.t.Fatal("the cluster does not come to rest")
			}
		}
	}
}

func (c *simCluster) run(steps int, kills bool) {
	for range steps {
		c.step(kills)
		c.check()
	}
	c.drain()
	for _, n := range c.nodes {
		if n.dead {
			continue
		}
		objects, tasks, _ := n.s.Counts()
		if objects != 0 || tasks != 0 || len(n.arena) != 0 {
			for id, o := range n.s.objects {
				local, pins, borrowers := o.Pinned()
				c.t.Logf("node %d: %s of %v: where %d, held %d, pinned %d, borrowed by %d %v, lineage %d, hold %v, borrowed %v", n.id[0], id, o.Owner[:1], o.Where, local, pins, borrowers, fmt.Sprint(o.borrow, n.s.estate.inherited), o.lineage, o.hold, o.borrowed)
			}
			c.t.Fatalf("node %d: %d objects, %d tasks and %d copies are left after everything was released", n.id[0], objects, tasks, len(n.arena))
		}
		for to, kept := range n.transit {
			if len(kept) != 0 {
				c.t.Fatalf("node %d keeps references for node %d that have arrived", n.id[0], to[0])
			}
		}
	}
}

func TestReachableStaysOnManyNodes(t *testing.T) {
	for seed := range int64(300) {
		c := newSimCluster(t, seed, 3)
		c.run(150, false)
	}
}

func TestReachableStaysWhileNodesDie(t *testing.T) {
	for seed := range int64(300) {
		c := newSimCluster(t, seed, 4)
		c.run(200, true)
	}
}
