package owner

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"ray/internal/spec"
)

// simNode is one node of a simulated cluster: its State and what the daemon
// around it keeps, without a network, a store or processes.
type simNode struct {
	c        *simCluster
	id       spec.NodeID
	s        *State
	dead     bool
	arena    map[spec.ObjectID]bool
	holds    map[Client]map[spec.ObjectID]spec.Ref
	transit  map[spec.NodeID]map[string][]spec.Ref
	runs     []*simRun
	pulls    []spec.ObjectID
	later    []func() // words about frozen objects
	leaving  bool
	legacies int // being taken
	heir     *simNode
	gone     bool // it has told everybody of its heir
}

// simRun is an attempt that is queued or runs on a node.
type simRun struct {
	task    *Task // owned here
	spec    Spec
	from    spec.NodeID
	attempt int
	adopted bool
	results []Result // wait for adopted
	done    bool
}

type simTaken struct {
	node spec.NodeID
	key  string
}

// simCluster delivers messages in order between each two nodes, in any order
// among pairs, and checks after each step that nothing reachable is gone.
type simCluster struct {
	t     *testing.T
	rng   *rand.Rand
	nodes []*simNode
	mail  map[[2]int][]func()
	next  uint32
	// leaves: nodes drain, each leaving to an heir what it owns.
	leaves bool
}

func newSimCluster(t *testing.T, seed int64, n int) *simCluster {
	c := &simCluster{t: t, rng: rand.New(rand.NewSource(seed)), mail: map[[2]int][]func(){}}
	for i := range n {
		id := spec.NodeID{byte(i + 1)}
		c.nodes = append(c.nodes, &simNode{c: c, id: id, s: New(id), arena: map[spec.ObjectID]bool{},
			holds: map[Client]map[spec.ObjectID]spec.Ref{}, transit: map[spec.NodeID]map[string][]spec.Ref{}})
	}
	return c
}

func (c *simCluster) node(id spec.NodeID) *simNode { return c.nodes[id[0]-1] }

func (n *simNode) send(to spec.NodeID, f func(*simNode)) {
	m := n.c.node(to)
	if m.dead || n.s.dead[to] {
		return
	}
	k := [2]int{int(n.id[0]), int(to[0])}
	n.c.mail[k] = append(n.c.mail[k], func() {
		if !m.dead && !m.s.dead[n.id] {
			f(m)
			m.pump()
		}
	})
}

// deliverOne takes one message of a random pair; false if there is none.
func (c *simCluster) deliverOne() bool {
	var keys [][2]int
	for k, l := range c.mail {
		if len(l) > 0 {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return false
	}
	slices.SortFunc(keys, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	k := keys[c.rng.Intn(len(keys))]
	f := c.mail[k][0]
	c.mail[k] = c.mail[k][1:]
	f()
	return true
}

func (n *simNode) hold(c Client, r spec.Ref) {
	n.s.Deliver(c, r, 1)
	if n.holds[c] == nil {
		n.holds[c] = map[spec.ObjectID]spec.Ref{}
	}
	if _, had := n.holds[c][r.ID]; had {
		n.s.Release(c, r.ID, 1)
	}
	n.holds[c][r.ID] = r
}

func (n *simNode) sees(c Client, refs []spec.Ref) {
	if c == 0 {
		return
	}
	for _, r := range refs {
		n.hold(c, r)
	}
}

// some picks references that a client holds.
func (n *simNode) some(c Client, most int) (out []spec.Ref) {
	var ids []spec.ObjectID
	for id := range n.holds[c] {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b spec.ObjectID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		if len(out) < most && n.c.rng.Intn(3) == 0 {
			out = append(out, n.holds[c][id])
		}
	}
	return out
}

// number tells which of two objects is older. Values hold older references
// only: counting cannot free cycles, and values, once made, cannot form them.
func number(id spec.ObjectID) int { return int(id[0]) | int(id[1])<<8 | int(id[2])<<16 }

func (n *simNode) pump() {
	if n.dead {
		return
	}
	for es := n.s.Effects(); len(es) > 0; es = n.s.Effects() {
		for _, e := range slices.Clone(es) {
			n.effect(e)
		}
	}
}

func (n *simNode) effect(e Effect) {
	switch e.Kind {
	case EffRun:
		n.place(e.Task)
	case EffPush:
		for i := range e.Task.NReturns {
			if o := n.s.Object(e.Task.ID.Return(uint32(i + 1))); o != nil && o.Where == Inline {
				n.sees(e.Client, o.Nested)
			}
		}
	case EffObj:
		if e.Object.Where == Arena && !n.arena[e.ID] {
			n.c.t.Fatalf("GET of %s was answered with a copy that is not in the arena", e.ID)
		}
		n.sees(e.Client, e.Object.Nested)
	case EffPull:
		n.pulls = append(n.pulls, e.ID)
	case EffFree:
		delete(n.arena, e.ID)
	case EffBorrow:
		n.send(e.Node, func(m *simNode) { m.borrowed(n.id, e.ID) })
	case EffUnborrow:
		n.send(e.Node, func(m *simNode) {
			if !m.s.Disowned(e.ID) {
				m.s.UnborrowedBy(e.ID, n.id)
			}
		})
	case EffHere:
		e.Token.(func())()
	case EffAsk:
		n.send(e.Node, func(m *simNode) {
			if !m.s.Disowned(e.ID) && !m.s.AskedBy(e.ID, n.id) {
				m.unknown(n.id, e.ID)
			}
		})
	case EffFreeRemote:
		n.send(e.Node, func(m *simNode) { m.s.Unhold(e.ID) })
	case EffHeld:
		n.send(e.Node, func(m *simNode) {
			if !m.s.Disowned(e.ID) && m.s.Object(e.ID) == nil {
				m.send(n.id, func(n *simNode) { n.s.Unhold(e.ID) })
			}
		})
	case EffConfirm:
		n.send(e.Node, func(m *simNode) { m.s.Confirmed(n.id, e.Loc) })
	case EffLocLost:
		n.send(e.Node, func(m *simNode) { m.word(e.ID, func() { m.s.LocationLost(e.ID, e.Loc) }) })
	case EffKeep:
		keep := func(m *simNode) bool { return m.s.Keep(e.ID, func() bool { return m.arena[e.ID] }) }
		if e.Node == n.id {
			keep(n)
			return
		}
		n.send(e.Node, func(m *simNode) {
			if keep(m) {
				m.send(n.id, func(n *simNode) { n.word(e.ID, func() { n.s.Kept(e.ID, m.id) }) })
			} else {
				m.send(n.id, func(n *simNode) { n.word(e.ID, func() { n.s.LocationLost(e.ID, m.id) }) })
			}
		})
	case EffTell:
		n.tell(e.Node, e.Object)
	case EffAdopted:
		n.adopted(e.Adoption)
	case EffStop:
		n.s.Withdrawn(e.Task)
	}
}

// unknown tells a node that this one has freed an object. That is fine where
// the other one has lost interest meanwhile; check finds the other cases.
func (n *simNode) unknown(to spec.NodeID, id spec.ObjectID) {
	n.send(to, func(m *simNode) {
		m.s.Told(id, Value{Where: Inline, Err: true, Blob: []byte("ReferenceCountingAssertionError")})
	})
}

func (n *simNode) snapshot(o *Object) Value {
	v := Value{Where: o.Where, Err: o.Err, Blob: o.Blob, Size: o.Size, Nodes: slices.Clone(o.Locs), Refs: slices.Clone(o.Nested)}
	if o.Where == Arena {
		v.Where, v.Nodes = Remote, append(v.Nodes, n.id)
	}
	return v
}

func (n *simNode) keep(to spec.NodeID, key string, refs []spec.Ref) {
	if len(refs) == 0 || n.s.dead[to] {
		return
	}
	for _, r := range refs {
		n.s.Pin(r)
	}
	if n.transit[to] == nil {
		n.transit[to] = map[string][]spec.Ref{}
	}
	n.transit[to][key] = append(n.transit[to][key], refs...)
}

func (n *simNode) arrived(from spec.NodeID, key string) {
	refs := n.transit[from][key]
	delete(n.transit[from], key)
	for _, r := range refs {
		n.s.Unpin(r)
	}
}

func (n *simNode) tell(to spec.NodeID, o *Object) {
	v, id := n.snapshot(o), o.ID
	n.keep(to, id.String(), v.Refs)
	n.send(to, func(m *simNode) {
		m.s.Told(id, v)
		m.s.Adopt(n.id, v.Refs, simTaken{n.id, id.String()})
	})
}

func (n *simNode) adopted(a *Adoption) {
	switch t := a.Token.(type) {
	case *simRun:
		t.adopted = true
		if t.done {
			n.report(t)
		}
	case simTaken:
		n.send(t.node, func(m *simNode) { m.arrived(n.id, t.key) })
	}
}

// place sends an attempt to a random node.
func (n *simNode) place(t *Task) {
	m := n.c.nodes[n.c.rng.Intn(len(n.c.nodes))]
	if m.leaving {
		m = n.c.nodes[0]
	}
	if m == n || n.s.dead[m.id] {
		n.runs = append(n.runs, &simRun{task: t, spec: t.Spec, from: n.id, attempt: t.Attempt})
		return
	}
	t.Node = m.id
	values := make([]Value, len(t.Deps))
	for i, dep := range t.Deps {
		values[i] = Value{Where: Remote}
		if o := n.s.Object(dep.ID); o != nil && o.Known() {
			values[i] = n.snapshot(o)
		}
	}
	x := &simRun{spec: t.Spec, from: n.id, attempt: t.Attempt}
	n.send(m.id, func(m *simNode) {
		refs := slices.Concat(x.spec.Deps, x.spec.Refs)
		for i, dep := range x.spec.Deps {
			m.s.Pin(dep)
			if values[i].Where == Inline || len(values[i].Nodes) > 0 {
				m.s.Told(dep.ID, values[i])
				refs = append(refs, values[i].Refs...)
			}
		}
		for _, r := range x.spec.Refs {
			m.s.Pin(r)
		}
		m.s.Adopt(n.id, refs, x)
		m.runs = append(m.runs, x)
	})
}

// finish ends a run: its worker saw its references, may keep some, and
// returns some of what it holds.
func (n *simNode) finish(x *simRun) {
	worker := Client(10 + n.c.rng.Intn(2))
	n.sees(worker, x.spec.Refs)
	for i := range x.spec.NReturns {
		v := Value{Where: Inline, Blob: []byte{0}, Refs: slices.DeleteFunc(n.some(worker, 2), func(r spec.Ref) bool { return number(r.ID) >= number(x.spec.ID.Return(1)) })}
		id := x.spec.ID.Return(uint32(i + 1))
		if n.c.rng.Intn(2) == 0 {
			v.Where, v.Size = Arena, 1<<20
			n.arena[id] = true
		}
		x.results = append(x.results, Result{Index: uint32(i + 1), Value: v})
	}
	x.done = true
	if x.task != nil {
		n.s.Done(x.task, x.attempt, StatusOK, x.results, 0)
		n.pump()
		return
	}
	// The worker may let go of what it returns before the result can leave.
	for _, r := range x.results {
		for _, ref := range r.Value.Refs {
			n.s.Pin(ref)
		}
	}
	if x.adopted {
		n.report(x)
	}
	n.pump()
}

func (n *simNode) report(x *simRun) {
	defer n.drop(x)
	if n.s.dead[x.from] {
		for _, r := range x.results {
			delete(n.arena, x.spec.ID.Return(r.Index))
		}
		return
	}
	key := fmt.Sprint(x.spec.ID, x.attempt)
	out := slices.Clone(x.results)
	var refs []spec.Ref
	for i, r := range out {
		if r.Value.Where == Arena {
			id := x.spec.ID.Return(r.Index)
			n.s.Hold(spec.Ref{ID: id, Owner: x.from}, 0, r.Value.Size, r.Value.Refs)
			out[i].Value.Where, out[i].Value.Nodes = Remote, []spec.NodeID{n.id}
		}
		n.keep(x.from, key, r.Value.Refs)
		refs = append(refs, r.Value.Refs...)
	}
	n.send(x.from, func(m *simNode) {
		if t := m.s.Task(x.spec.ID); t != nil {
			m.s.Done(t, x.attempt, StatusOK, out, 0)
		} else {
			for _, r := range out {
				if id := x.spec.ID.Return(r.Index); r.Value.Where == Remote {
					m.send(n.id, func(n *simNode) { n.s.Unhold(id) })
				}
			}
		}
		if len(refs) > 0 {
			m.s.Adopt(n.id, refs, simTaken{n.id, key})
		}
	})
}

// drop lets the arguments and results of a run from elsewhere go.
func (n *simNode) drop(x *simRun) {
	for _, r := range x.results {
		for _, ref := range r.Value.Refs {
			n.s.Unpin(ref)
		}
	}
	for _, r := range slices.Concat(x.spec.Deps, x.spec.Refs) {
		n.s.Unpin(r)
	}
}

// fetch ends one transfer.
func (n *simNode) fetch() {
	id := n.pulls[0]
	n.pulls = n.pulls[1:]
	o := n.s.Object(id)
	if o == nil || o.Where != Remote || !o.Pulling() {
		return
	}
	for _, loc := range o.Locs {
		if m := n.c.node(loc); !m.dead && m.arena[id] {
			n.arena[id] = true
			n.s.Pulled(id, 0, 1<<20)
			n.pump()
			return
		}
	}
	n.s.PullFailed(id, slices.Clone(o.Locs))
	n.pump()
}

// kill ends a node; the others hear of it at once, and its mail is lost.
func (c *simCluster) kill(n *simNode) {
	n.dead = true
	for k := range c.mail {
		if k[0] == int(n.id[0]) || k[1] == int(n.id[0]) {
			delete(c.mail, k)
		}
	}
	for _, m := range c.nodes {
		if m.dead {
			continue
		}
		for key := range m.transit[n.id] {
			m.arrived(n.id, key)
		}
		for _, t := range m.s.NodeDead(n.id, "") {
			m.s.Failed(t, t.Attempt, &spec.ErrorInfo{Type: "NodeDiedError"}, true)
		}
		m.runs = slices.DeleteFunc(m.runs, func(x *simRun) bool {
			if x.from == n.id {
				m.drop(x)
			}
			return x.from == n.id
		})
		m.pump()
	}
}
