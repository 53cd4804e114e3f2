package owner

import (
	"slices"
	"strings"
	"testing"

	"ray/internal/spec"
)

// nodesOf lists to whom effects of a kind go.
func nodesOf(es []Effect, kind EffectKind) (out []byte) {
	for _, e := range es {
		if e.Kind == kind {
			out = append(out, e.Node[0])
		}
	}
	slices.Sort(out)
	return out
}

func TestBorrowersCopiesAreSoughtBeforeATaskIsRunAgain(t *testing.T) {
	w := newWorld(t, 1)
	two, three, four := spec.NodeID{2}, spec.NodeID{3}, spec.NodeID{4}
	task := &Task{Spec: Spec{ID: w.taskID(1), NReturns: 1, Tmpl: &Template{Template: spec.Template{Name: "f", MaxRetries: 3}}}}
	task.Retries = 3
	w.s.Submit(task, 1)
	id := task.ID.Return(1)
	w.s.Done(task, 0, StatusOK, []Result{{Index: 1, Value: Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{two}}}}, 0)
	w.s.BorrowedBy(id, three)
	w.s.BorrowedBy(id, four)
	w.s.Effects()

	w.s.NodeDead(two, "")
	if es := w.s.Effects(); string(nodesOf(es, EffKeep)) != "\x03\x04" || len(nodesOf(es, EffRun)) > 0 {
		t.Fatalf("asked %v for their copies and ran %d tasks, want 3 and 4 asked first", nodesOf(es, EffKeep), len(nodesOf(es, EffRun)))
	}
	w.s.Get(1, 7, []spec.Ref{w.ref(id)}, false)
	w.s.LocationLost(id, three)
	w.s.Kept(id, four)
	w.s.Kept(id, spec.NodeID{5})
	o := w.s.Object(id)
	es := w.s.Effects()
	if o.Where != Remote || !slices.Equal(o.Locs, []spec.NodeID{four}) || len(nodesOf(es, EffPull)) != 1 || len(nodesOf(es, EffRun)) > 0 {
		t.Fatalf("it is on %v with %d pulls and %d runs, want the copy of 4 to be pulled", o.Locs, len(nodesOf(es, EffPull)), len(nodesOf(es, EffRun)))
	}
	if got := string(nodesOf(es, EffFreeRemote)); got != "\x05" {
		t.Fatalf("%q need not keep its copy, want node 5, which was not the first", got)
	}

	w.s.NodeDead(four, "")
	if es := w.s.Effects(); string(nodesOf(es, EffKeep)) != "\x03" {
		t.Fatalf("asked %v, want 3: it may have a copy by now", nodesOf(es, EffKeep))
	}
	w.s.LocationLost(id, three)
	if es := w.s.Effects(); len(nodesOf(es, EffKeep)) > 0 || len(nodesOf(es, EffRun)) != 1 {
		t.Fatal("once nobody has a copy the task must run again, and nobody be asked twice")
	}
}

func TestTheOwnersOwnCopyBecomesThePrimaryOne(t *testing.T) {
	w := newWorld(t, 1)
	two := spec.NodeID{2}
	task := &Task{Spec: Spec{ID: w.taskID(1), NReturns: 1, Tmpl: &Template{Template: spec.Template{Name: "f"}}}}
	w.s.Submit(task, 1)
	id := task.ID.Return(1)
	w.s.Done(task, 0, StatusOK, []Result{{Index: 1, Value: Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{two}}}}, 0)
	w.s.Get(1, 7, []spec.Ref{w.ref(id)}, false)
	w.s.Pulled(id, 0, 1<<20)
	w.s.Effects()
	w.s.NodeDead(two, "")
	if got := nodesOf(w.s.Effects(), EffKeep); string(got) != "\x01" {
		t.Fatalf("asked %v to keep the copy, want this node itself", got)
	}
	if !w.s.Keep(id, func() bool { return true }) || !w.s.Object(id).Primary || w.s.Object(id).Held() {
		t.Fatal("what the owner keeps is its primary copy, and not held for another")
	}
}

func TestAnswerThatCountsOnTheAskersCopy(t *testing.T) {
	w := newWorld(t, 1)
	one := spec.NodeID{9}
	r := spec.Ref{ID: w.taskID(1).Return(1), Owner: one}
	w.s.Get(1, 7, []spec.Ref{r}, false)
	w.s.Effects()
	w.s.Told(r.ID, Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{w.self}})
	if es := w.s.Effects(); string(nodesOf(es, EffAsk)) != "\x09" || len(nodesOf(es, EffPull)) > 0 {
		t.Fatal("an owner that does not know yet that this node has no copy must be asked again")
	}
}

func TestWhatIsLostSaysWhereItWasMade(t *testing.T) {
	w := newWorld(t, 1)
	two := spec.NodeID{2}
	task := &Task{Spec: Spec{ID: w.taskID(1), NReturns: 1, Tmpl: &Template{Template: spec.Template{Name: "f"}}}}
	w.s.Submit(task, 1)
	id := task.ID.Return(1)
	w.s.Done(task, 0, StatusOK, []Result{{Index: 1, Value: Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{two}}}}, 0)
	o := w.s.Object(id)
	site := "(task call) | script.py:main:7"
	o.Note(1, site)
	w.s.NodeDead(two, "")
	w.s.Get(1, 7, []spec.Ref{w.ref(id)}, false)
	if !o.Err || !strings.Contains(string(o.Blob), site) {
		t.Fatalf("%+v holds %q, want an error with the place where the reference was made", o, o.Blob)
	}
}
