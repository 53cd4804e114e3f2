package owner

import (
	"slices"
	"testing"

	"ray/internal/spec"
)

// Whatever the clients of one node have put and submitted can be had for as
// long as that node lives, with all others dying: tasks without a bound on
// retries are run again, and what cannot be made again is kept for them.
func TestOtherNodesEndsLoseNothing(t *testing.T) {
	for seed := range int64(200) {
		c := newSimCluster(t, seed, 4)
		n := c.nodes[0]
		client := func() Client { return Client(10 + c.rng.Intn(2)) }
		for range 120 {
			for range c.rng.Intn(4) {
				c.deliverOne()
			}
			switch m := c.nodes[c.rng.Intn(len(c.nodes))]; c.rng.Intn(8) {
			case 0:
				n.put(client())
			case 1, 2:
				n.submitEndless(client())
			case 3, 4:
				if len(m.runs) > 0 && !m.dead {
					x := m.runs[0]
					m.runs = m.runs[1:]
					m.finish(x)
				}
			case 5:
				k := client()
				for _, r := range n.some(k, 3) {
					n.s.Release(k, r.ID, 1)
					delete(n.holds[k], r.ID)
				}
			case 6:
				if !m.dead && len(m.pulls) > 0 {
					m.fetch()
				}
			case 7:
				if m != n && !m.dead && c.rng.Intn(12) == 0 {
					c.kill(m)
				}
			}
			n.pump()
		}
		for _, m := range c.nodes[1:] {
			if !m.dead {
				c.kill(m)
			}
		}
		for k, refs := range n.holds {
			for _, r := range refs {
				c.next++
				n.s.Get(k, c.next, []spec.Ref{r}, false)
				c.rest()
				if o := n.s.Object(r.ID); o == nil || o.Err || !o.Here() {
					t.Fatalf("seed %d: %s, which is wanted again: %+v", seed, r.ID, o)
				}
			}
		}
		c.drain()
		if objects, tasks, _ := n.s.Counts(); objects != 0 || tasks != 0 || len(n.arena) != 0 || n.s.lineage.bytes != 0 {
			t.Fatalf("seed %d: %d objects, %d tasks, %d copies and %d bytes of lineage are left", seed, objects, tasks, len(n.arena), n.s.lineage.bytes)
		}
	}
}

// submitEndless submits a task that may be retried without end, or not at all.
func (n *simNode) submitEndless(client Client) {
	t := &Task{Spec: Spec{ID: n.c.taskID(n, 2), NReturns: 1, Deps: n.some(client, 2), Refs: n.some(client, 1),
		Tmpl: &Template{Template: spec.Template{Name: "f", MaxRetries: -1}}}}
	n.s.Submit(t, client)
	n.own(client, t.ID.Return(1))
}

// rest delivers and runs until nothing is left to do.
func (c *simCluster) rest() {
	for busy := true; busy; {
		busy = c.deliverOne()
		for _, m := range c.nodes {
			if m.dead {
				continue
			}
			m.pump()
			if len(m.pulls) > 0 {
				m.fetch()
				busy = true
			}
			if len(m.runs) > 0 {
				x := m.runs[0]
				m.runs = slices.Delete(m.runs, 0, 1)
				m.finish(x)
				busy = true
			}
		}
	}
}

// A chain of results is lost twice, and with it what they were made of: that is
// made as often as it may be, and then kept.
func TestWhatCannotBeMadeAgainIsKept(t *testing.T) {
	w := newWorld(t, 1)
	far := spec.NodeID{2}
	end := func(f *Task) {
		w.s.Done(f, f.Attempt, StatusOK, []Result{{Index: 1, Value: Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{far}}}}, 0)
		w.pump()
	}
	base := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Tmpl: &Template{Template: spec.Template{Name: "base", MaxRetries: 1}}}}
	w.s.Submit(base, 1)
	w.pump()
	end(base)
	var tops []*Task
	for range 3 {
		f := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Deps: []spec.Ref{w.ref(base.ID.Return(1))},
			Tmpl: &Template{Template: spec.Template{Name: "top", MaxRetries: 1}}}}
		w.s.Submit(f, 1)
		w.pump()
		end(f)
		tops = append(tops, f)
	}
	w.s.Release(1, base.ID.Return(1), 1)
	w.pump()
	if o := w.s.Object(base.ID.Return(1)); o == nil || o.Where != Lost {
		t.Fatalf("the argument can be made again, and takes room: %+v", o)
	}
	w.s.NodeDead(far, "")
	far = spec.NodeID{3}
	for i, f := range tops {
		w.running = nil
		w.s.Wait(1, uint32(i+1), []spec.Ref{w.ref(f.ID.Return(1))}, false)
		w.pump()
		if i == 0 {
			if !slices.Equal(w.running, []*Task{base}) {
				t.Fatalf("%d tasks run", len(w.running))
			}
			end(base)
		}
		if last := w.running[len(w.running)-1]; last != f {
			t.Fatalf("%s runs for result %d", last.Tmpl.Name, i)
		}
		end(f)
		if o := w.s.Object(base.ID.Return(1)); !o.Known() {
			t.Fatalf("the argument has no retry left and is gone: %+v", o)
		}
	}
	for _, f := range tops {
		w.s.Release(1, f.ID.Return(1), 1)
	}
	w.pump()
	if objects, tasks, _ := w.s.Counts(); objects != 0 || tasks != 0 {
		t.Fatalf("%d objects and %d tasks are left", objects, tasks)
	}
}

// What a method returned is made again by the actor, if its calls may be retried.
func TestCallsAreMadeAgainForWhatTheyReturn(t *testing.T) {
	w := newWorld(t, 1)
	far, a := spec.NodeID{2}, spec.ActorID{9}
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: far, Incarnation: 1})
	large := func() []Result {
		return []Result{{Index: 1, Value: Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{far}}}}
	}
	again, once := w.call(1, a, 1, 2), w.call(1, a, 2, 0)
	w.s.Done(again, 0, StatusOK, large(), 0)
	w.s.Done(once, 0, StatusOK, large(), 0)
	w.s.Effects()
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorRestarting, Incarnation: 1})
	w.s.NodeDead(far, "")
	far = spec.NodeID{3}
	for i, c := range []*Task{again, once} {
		w.s.Wait(1, uint32(i), []spec.Ref{w.ref(c.ID.Return(1))}, false)
	}
	if o := w.s.Object(once.ID.Return(1)); !o.Err {
		t.Errorf("a method that is not retried: %+v", o)
	}
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: far, Incarnation: 2})
	if got := calls(w.s.Effects()); string(got) != "\x01" {
		t.Fatalf("sent %v to the second life, want 1", got)
	}
	w.s.Done(again, again.Attempt, StatusOK, large(), 0)
	if o := w.s.Object(again.ID.Return(1)); !o.Known() || o.Err || again.Retries != 1 {
		t.Errorf("%+v, %d retries left", o, again.Retries)
	}
	for _, c := range []*Task{again, once} {
		w.s.Release(1, c.ID.Return(1), 1)
	}
	w.pump()
	if objects, tasks, _ := w.s.Counts(); objects != 0 || tasks != 0 {
		t.Fatalf("%d objects and %d tasks are left", objects, tasks)
	}
}

// A node's end is known before what becomes of its actors: calls wait for that,
// instead of going to a dead node again and again.
func TestCallsWaitForWhatBecomesOfAnActorOfADeadNode(t *testing.T) {
	w := newWorld(t, 1)
	far, a := spec.NodeID{2}, spec.ActorID{9}
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: far, Incarnation: 1})
	w.s.NodeDead(far, "")
	w.call(1, a, 1, -1)
	if got := calls(w.s.Effects()); len(got) != 0 {
		t.Fatalf("sent %v to a dead node", got)
	}
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorRestarting, Incarnation: 1})
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: spec.NodeID{3}, Incarnation: 2})
	if got := calls(w.s.Effects()); string(got) != "\x01" {
		t.Fatalf("sent %v to the second life, want 1", got)
	}
}
