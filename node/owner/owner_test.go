package owner

import (
	"encoding/base64"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"ray/internal/spec"
	"ray/internal/wire"
)

// world drives one State the way a daemon does: it runs what is ready, keeps
// what clients hold, and knows which objects must exist.
type world struct {
	t       *testing.T
	s       *State
	rng     *rand.Rand
	self    spec.NodeID
	next    uint32
	holds   map[Client]map[spec.ObjectID]int
	running []*Task
	freed   map[spec.ObjectID]bool
	nested  map[spec.ObjectID][]spec.Ref
	got     map[uint32]int
}

func newWorld(t *testing.T, seed int64) *world {
	w := &world{t: t, rng: rand.New(rand.NewSource(seed)), self: spec.NodeID{1}, holds: map[Client]map[spec.ObjectID]int{},
		freed: map[spec.ObjectID]bool{}, nested: map[spec.ObjectID][]spec.Ref{}, got: map[uint32]int{}}
	w.s = New(w.self)
	return w
}

func (w *world) ref(id spec.ObjectID) spec.Ref { return spec.Ref{ID: id, Owner: w.self} }

func (w *world) taskID(kind byte) spec.TaskID {
	w.next++
	var id spec.TaskID
	id[0], id[1], id[2], id[3] = byte(w.next), byte(w.next>>8), byte(w.next>>16), kind
	return id
}

func (w *world) hold(c Client, id spec.ObjectID, n int) {
	if w.holds[c] == nil {
		w.holds[c] = map[spec.ObjectID]int{}
	}
	w.holds[c][id] += n
}

// some picks references that the client holds.
func (w *world) some(c Client, max int) (out []spec.Ref) {
	for id := range w.holds[c] {
		if len(out) < max && w.rng.Intn(3) == 0 {
			out = append(out, w.ref(id))
		}
	}
	return out
}

func (w *world) pump() {
	for {
		es := w.s.Effects()
		if len(es) == 0 {
			return
		}
		for i := range es {
			e := es[i]
			switch e.Kind {
			case EffRun:
				w.running = append(w.running, e.Task)
			case EffObj:
				if e.Object.Where == Pending || e.Object.Where == Lost {
					w.t.Fatalf("GET was answered with an object that is nowhere")
				}
				w.got[e.Request]++
			case EffFree:
				w.freed[e.ID] = true
			case EffStop:
				w.s.Withdrawn(e.Task)
			}
		}
	}
}

func (w *world) value(refs []spec.Ref) Value {
	v := Value{Where: Inline, Blob: []byte{0}, Refs: refs}
	if w.rng.Intn(3) == 0 {
		v = Value{Where: Arena, Off: 64, Size: 1 << 20, Refs: refs}
	}
	return v
}

// step does one random thing.
func (w *world) step(c Client) {
	switch w.rng.Intn(7) {
	case 0:
		id := w.taskID(1).Return(1)
		refs := w.some(c, 2)
		w.s.Put(c, id, w.value(refs))
		w.nested[id] = refs
		w.hold(c, id, 1)
	case 1, 2:
		t := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1 + w.rng.Intn(2), Deps: w.some(c, 2), Refs: w.some(c, 2),
			Tmpl: &Template{Template: spec.Template{Name: "f", MaxRetries: w.rng.Intn(3)}}}}
		w.s.Submit(t, c)
		for i := range t.NReturns {
			w.hold(c, t.ID.Return(uint32(i+1)), 1)
		}
	case 3:
		for id, n := range w.holds[c] {
			w.s.Release(c, id, uint32(n))
			delete(w.holds[c], id)
			break
		}
	case 4:
		for id := range w.holds[c] {
			other := Client(1 + w.rng.Intn(3))
			w.s.Deliver(other, w.ref(id), 2)
			w.hold(other, id, 2)
			break
		}
	case 5:
		w.finishOne()
	case 6:
		if w.rng.Intn(8) == 0 {
			w.s.ClientGone(c, nil)
			delete(w.holds, c)
		}
	}
	w.pump()
	w.check()
}

func (w *world) finishOne() {
	if len(w.running) == 0 {
		return
	}
	i := w.rng.Intn(len(w.running))
	t := w.running[i]
	w.running = append(w.running[:i], w.running[i+1:]...)
	switch w.rng.Intn(6) {
	case 0:
		w.s.Failed(t, t.Attempt, &spec.ErrorInfo{Type: "WorkerCrashedError"}, w.rng.Intn(2) == 0)
	case 1:
		w.s.Done(t, t.Attempt, StatusRetry, []Result{{Value: Value{Where: Inline, Err: true, Blob: []byte{2}}}}, 0)
	default:
		var rs []Result
		for i := range t.NReturns {
			refs := append([]spec.Ref{}, t.Refs...)
			rs = append(rs, Result{Index: uint32(i + 1), Value: w.value(refs)})
			w.nested[t.ID.Return(uint32(i+1))] = refs
		}
		w.s.Done(t, t.Attempt, StatusOK, rs, 0)
	}
}

// check: everything that a client holds, directly or inside something that it
// holds, is in the table and has not been freed.
func (w *world) check() {
	seen := map[spec.ObjectID]bool{}
	var visit func(id spec.ObjectID, how string)
	visit = func(id spec.ObjectID, how string) {
		if seen[id] {
			return
		}
		seen[id] = true
		o := w.s.Object(id)
		if o == nil || o.Where == Lost || w.freed[id] && o.Where == Arena {
			w.t.Fatalf("object %s is gone although it is referenced by %s", id, how)
		}
		for _, r := range o.Nested {
			visit(r.ID, "the contents of "+id.String())
		}
	}
	for c, ids := range w.holds {
		for id := range ids {
			visit(id, fmt.Sprintf("client %d", c))
		}
	}
	for _, t := range w.running {
		if t.State == TaskDone {
			continue
		}
		for _, r := range append(append([]spec.Ref{}, t.Deps...), t.Refs...) {
			visit(r.ID, "a running task")
		}
	}
}

func TestReachableStaysAndTheRestGoes(t *testing.T) {
	for seed := range int64(300) {
		w := newWorld(t, seed)
		for range 120 {
			w.step(Client(1 + w.rng.Intn(3)))
		}
		for c := range Client(4) {
			w.s.ClientGone(c, nil)
		}
		w.holds = map[Client]map[spec.ObjectID]int{}
		w.pump()
		for range 10_000 {
			w.finishOne()
			w.pump()
			if len(w.running) == 0 {
				break
			}
		}
		if objects, tasks, _ := w.s.Counts(); objects != 0 || tasks != 0 {
			t.Fatalf("seed %d: %d objects and %d tasks are left after everything was released", seed, objects, tasks)
		}
	}
}

// call makes an actor call of client c.
func (w *world) call(c Client, a spec.ActorID, n byte, retries int, deps ...spec.Ref) *Task {
	var id spec.TaskID
	id[0] = n
	copy(id[8:], a[:])
	t := &Task{Spec: Spec{ID: id, Kind: KindCall, NReturns: 1, Deps: deps, Tmpl: &Template{Template: spec.Template{Name: "m", Kind: spec.KindActorCall, MaxRetries: retries}}}}
	w.s.Submit(t, c)
	return t
}

func calls(es []Effect) (out []byte) {
	for _, e := range es {
		if e.Kind == EffCall {
			out = append(out, e.Task.ID[0])
		}
	}
	return out
}

func TestActorCallsKeepTheirOrder(t *testing.T) {
	w := newWorld(t, 1)
	a := spec.ActorID{9}
	late := w.taskID(3)
	dep := &Task{Spec: Spec{ID: late, NReturns: 1, Tmpl: &Template{Template: spec.Template{Name: "slow"}}}}
	w.s.Submit(dep, 1)
	w.call(1, a, 1, 0)
	w.call(1, a, 2, 0, w.ref(late.Return(1)))
	w.call(1, a, 3, 0)
	w.call(2, a, 4, 0)
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: w.self, Incarnation: 1})
	got := calls(w.s.Effects())
	if len(got) != 2 || got[0]+got[1] != 5 {
		t.Fatalf("sent %v, want 1 and 4 only: 2 waits for its argument and 3 stays behind it", got)
	}
	w.s.Done(dep, 0, StatusOK, []Result{{Index: 1, Value: Value{Where: Inline, Blob: []byte{5}}}}, 0)
	if got := calls(w.s.Effects()); string(got) != "\x02\x03" {
		t.Fatalf("sent %v, want 2 then 3", got)
	}
}

func TestActorRestartSendsRetriedCallsAgainInOrder(t *testing.T) {
	w := newWorld(t, 1)
	a := spec.ActorID{9}
	alive := func(inc int) spec.ActorInfo {
		return spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: w.self, Incarnation: inc}
	}
	w.s.ActorUpdate(alive(1))
	one, two, three := w.call(1, a, 1, 1), w.call(1, a, 2, 0), w.call(1, a, 3, 1)
	w.s.Effects()
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorRestarting, Incarnation: 1})
	if two.State != TaskDone || one.State == TaskDone || three.State == TaskDone {
		t.Fatal("a call without retries must fail while the actor restarts, the others must wait")
	}
	if w.call(1, a, 4, 0).State != TaskDone {
		t.Fatal("a new call without retries must fail while the actor restarts")
	}
	w.s.Effects()
	w.s.ActorUpdate(alive(2))
	if got := calls(w.s.Effects()); string(got) != "\x01\x03" {
		t.Fatalf("sent %v after the restart, want 1 then 3", got)
	}
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorDead, Incarnation: 2})
	if one.State != TaskDone || three.State != TaskDone {
		t.Fatal("calls are left unanswered after the actor's death")
	}
	if o := w.s.Object(one.ID.Return(1)); o == nil || !o.Err {
		t.Fatal("the call's result must be an error")
	}
}

// Calls that were made before the actor ended, or before its constructor did
// the first time, were not refused: they go to its next life. One whose
// argument comes while there is no life is refused then.
func TestCallsThatWereNotSentOutliveARestart(t *testing.T) {
	w := newWorld(t, 1)
	a := spec.ActorID{9}
	dep := func(n byte) *Task {
		d := &Task{Spec: Spec{ID: w.taskID(n), NReturns: 1, Tmpl: &Template{Template: spec.Template{Name: "slow"}}}}
		w.s.Submit(d, 1)
		return d
	}
	here := []Result{{Index: 1, Value: Value{Where: Inline, Blob: []byte{5}}}}
	early := w.call(1, a, 1, 0) // no life yet
	restarting := func(inc int) {
		w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorRestarting, Incarnation: inc})
	}
	restarting(1)
	restarting(2)
	w.s.Effects()
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: w.self, Incarnation: 3})
	if got := calls(w.s.Effects()); string(got) != "\x01" || early.State != TaskSent {
		t.Fatalf("sent %v once the third constructor had returned, want the call made before the first", got)
	}
	first, second := dep(11), dep(12)
	meanwhile := w.call(1, a, 2, 0, w.ref(first.ID.Return(1)))
	later := w.call(2, a, 3, 0, w.ref(second.ID.Return(1)))
	restarting(3)
	if meanwhile.State == TaskDone || later.State == TaskDone {
		t.Fatal("a call whose argument is not there yet has lost nothing by the restart")
	}
	w.s.Done(first, 0, StatusOK, here, 0)
	if meanwhile.State != TaskDone {
		t.Fatal("a call that becomes ready while the actor restarts must be refused, as a new one is")
	}
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: w.self, Incarnation: 4})
	w.s.Effects()
	w.s.Done(second, 0, StatusOK, here, 0)
	if got := calls(w.s.Effects()); string(got) != "\x03" {
		t.Fatalf("sent %v, want the call whose argument came after the restart", got)
	}
}

// The head did not hear that the first life had begun before its node was cut
// off: it places the actor anew, which is no restart. What had been sent to the
// first life is sent to the second.
func TestCallsGoToALifeThatIsNoRestart(t *testing.T) {
	w := newWorld(t, 1)
	a := spec.ActorID{9}
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: w.self, Incarnation: 1})
	w.call(1, a, 1, -1)
	w.s.Effects()
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorPending, Incarnation: 1})
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorPending, NodeID: spec.NodeID{2}, Incarnation: 2})
	w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: spec.NodeID{2}, Incarnation: 2})
	if got := calls(w.s.Effects()); string(got) != "\x01" {
		t.Fatalf("sent %v to the second life, want 1", got)
	}
}

func TestFailedDependencyEndsTheTask(t *testing.T) {
	w := newWorld(t, 1)
	f := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Tmpl: &Template{Template: spec.Template{Name: "f"}}}}
	w.s.Submit(f, 1)
	g := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 2, Deps: []spec.Ref{w.ref(f.ID.Return(1))}, Tmpl: &Template{Template: spec.Template{Name: "g"}}}}
	w.s.Submit(g, 1)
	w.s.Done(f, 0, StatusError, []Result{{Value: Value{Where: Inline, Err: true, Blob: []byte{2, 7}}}}, 0)
	for i := range uint32(2) {
		o := w.s.Object(g.ID.Return(i + 1))
		e := wire.ErrorOf(o.Blob)
		if !o.Err || e == nil || e.Fields["error"] != base64.StdEncoding.EncodeToString([]byte{2, 7}) {
			t.Fatalf("return %d must carry the argument's own error, got %+v", i+1, e)
		}
	}
	h := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Deps: []spec.Ref{w.ref(g.ID.Return(1))}, Tmpl: &Template{Template: spec.Template{Name: "h"}}}}
	w.s.Submit(h, 1)
	e := wire.ErrorOf(w.s.Object(h.ID.Return(1)).Blob)
	if names := fmt.Sprint(e.Fields["tasks"]); names != "[h g]" {
		t.Fatalf("a chain names its tasks in order, nearest first: %s", names)
	}
}

func TestLostResultsAreMadeAgain(t *testing.T) {
	w := newWorld(t, 1)
	far := spec.NodeID{2}
	tmpl := &Template{Template: spec.Template{Name: "f", MaxRetries: 3}}
	remote := []Result{{Index: 1, Value: Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{far}}}}
	f := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Tmpl: tmpl}}
	w.s.Submit(f, 1)
	g := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Deps: []spec.Ref{w.ref(f.ID.Return(1))}, Tmpl: tmpl}}
	w.s.Submit(g, 1)
	w.pump()
	w.s.Done(f, 0, StatusOK, remote, 0)
	w.pump()
	w.s.Done(g, 0, StatusOK, remote, 0)
	w.s.Release(1, f.ID.Return(1), 1)
	w.running = nil
	w.s.NodeDead(far, "")
	w.s.Get(1, 77, []spec.Ref{w.ref(g.ID.Return(1))}, false)
	w.pump()
	if len(w.running) != 1 || w.running[0] != f {
		t.Fatalf("%d tasks run again, want the lost argument's task first", len(w.running))
	}
	w.s.Done(f, f.Attempt, StatusOK, []Result{{Index: 1, Value: Value{Where: Inline, Blob: []byte{0}}}}, 0)
	w.pump()
	if len(w.running) != 2 || w.running[1] != g {
		t.Fatal("the lost result's task must run once its argument is there")
	}
	w.s.Done(g, g.Attempt, StatusOK, []Result{{Index: 1, Value: Value{Where: Inline, Blob: []byte{0}}}}, 0)
	w.pump()
	if w.got[77] != 1 {
		t.Fatal("the GET that found the object lost was not answered")
	}
	w.s.Release(1, g.ID.Return(1), 1)
	w.pump()
	if objects, tasks, _ := w.s.Counts(); objects != 0 || tasks != 0 {
		t.Fatalf("%d objects and %d tasks are left", objects, tasks)
	}
}

func TestCreationIsUnreferencedOnce(t *testing.T) {
	w := newWorld(t, 1)
	a := spec.ActorID{9}
	id := spec.ActorCreationTaskID(a)
	c := &Task{Spec: Spec{ID: id, Kind: KindCreate, NReturns: 1, Tmpl: &Template{Template: spec.Template{Name: "A", Actor: &spec.ActorOptions{}}}}}
	w.s.Submit(c, 1)
	w.s.Effects()
	w.s.Place(a, w.self, 1, false)
	w.s.Done(c, c.Attempt, StatusOK, []Result{{Index: 1, Value: Value{Where: Inline, Blob: []byte{5}}}}, 0)
	w.s.ActorStarted(a, w.self, 1)
	m := w.call(1, a, 1, 0)
	w.s.Effects()
	w.s.Release(1, id.Return(1), 1)
	for _, e := range w.s.Effects() {
		if e.Kind == EffUnreferenced {
			t.Fatal("the actor must live until its last call is answered")
		}
	}
	w.s.Done(m, 0, StatusOK, []Result{{Index: 1, Value: Value{Where: Inline, Blob: []byte{5}}}}, 0)
	n := 0
	for _, e := range w.s.Effects() {
		if e.Kind == EffUnreferenced {
			n++
		}
	}
	if n != 1 {
		t.Fatalf("EffUnreferenced was emitted %d times, want once", n)
	}
}

// A driver may ask for what was freed long ago, or was never there; the answer
// is an error and leaves nothing behind.
func TestAskingForTheUnknownLeavesNothing(t *testing.T) {
	w := newWorld(t, 1)
	ref := w.ref(spec.ObjectID{7})
	w.s.Get(5, 1, []spec.Ref{ref}, false)
	w.s.Wait(5, 2, []spec.Ref{ref}, true)
	errors := 0
	for _, e := range w.s.Effects() {
		if e.Kind == EffReady || e.Kind == EffObj && len(e.Object.Blob) > 0 {
			errors++
		}
	}
	if errors != 2 || len(w.s.objects) != 0 {
		t.Errorf("%d answers, %d objects left", errors, len(w.s.objects))
	}
}

// A reference that came from elsewhere is asked for by a client that was never
// given it; the error that ends it must reach the client whole.
func TestTheEndOfAnOwnerReachesWhoAsks(t *testing.T) {
	w := newWorld(t, 1)
	far := spec.NodeID{9}
	w.s.Get(5, 1, []spec.Ref{{ID: spec.ObjectID{7}, Owner: far}}, false)
	w.s.Effects()
	w.s.NodeDead(far, "is no node of this cluster")
	said := ""
	for _, e := range w.s.Effects() {
		if e.Kind == EffObj {
			said = string(e.Object.Blob)
		}
	}
	if !strings.Contains(said, "OwnerDiedError") || !strings.Contains(said, "is no node of this cluster") || len(w.s.objects) != 0 {
		t.Errorf("said %q, %d objects left", said, len(w.s.objects))
	}
}

// A node that has no room for an object says so to those who wait for it
// there, and to nobody else.
func TestARefusedPullLeavesTheObjectAsItIs(t *testing.T) {
	w := newWorld(t, 1)
	far := spec.NodeID{9}
	ref := w.ref(spec.ObjectID{7})
	o := w.s.Put(5, ref.ID, Value{Where: Remote, Size: 9, Nodes: []spec.NodeID{far}})
	w.s.Effects()
	for again := range 2 {
		w.s.Get(5, uint32(10*again), []spec.Ref{ref}, false)
		w.s.Wait(5, uint32(10*again+1), []spec.Ref{ref}, true)
		w.s.Bring(ref, "token")
		pulls, said := 0, []EffectKind{}
		for _, e := range w.s.Effects() {
			if e.Kind == EffPull {
				pulls++
			}
		}
		w.s.PullRefused(ref.ID, []byte("no room"))
		for _, e := range w.s.Effects() {
			said = append(said, e.Kind)
			if e.Kind != EffReady && (!e.Object.Err || string(e.Object.Blob) != "no room") {
				t.Errorf("effect %d with %+v", e.Kind, e.Object)
			}
		}
		if pulls != 1 || !slices.Equal(said, []EffectKind{EffObj, EffReady, EffHere}) {
			t.Errorf("%d pulls, then effects %v", pulls, said)
		}
		if o.Where != Remote || o.Err || len(o.Locs) != 1 || len(w.s.reqs) != 0 {
			t.Errorf("left: %+v, %d requests", o, len(w.s.reqs))
		}
	}
}
