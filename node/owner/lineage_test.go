package owner

import (
	"strings"
	"testing"

	"ray/internal/spec"
	"ray/internal/wire"
)

func TestLineageIsKeptWithinItsBound(t *testing.T) {
	w := newWorld(t, 1)
	far := spec.NodeID{2}
	tmpl := &Template{Template: spec.Template{Name: "f", MaxRetries: 3}}
	large := func() []Result {
		return []Result{{Index: 1, Value: Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{far}}}}
	}
	w.s.MaxLineage = 3 * (taskCost + 1000)
	var tasks []*Task
	for range 5 { // a chain: each has the one before as its argument
		f := &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Payload: make([]byte, 800), Tmpl: tmpl}}
		if n := len(tasks); n > 0 {
			f.Deps = []spec.Ref{w.ref(tasks[n-1].ID.Return(1))}
		}
		w.s.Submit(f, 1)
		w.pump()
		w.s.Done(f, 0, StatusOK, large(), 0)
		w.pump()
		tasks = append(tasks, f)
	}
	if _, kept, _ := w.s.Counts(); kept != 3 {
		t.Fatalf("%d tasks are kept", kept)
	}
	if w.s.lineage.bytes > w.s.MaxLineage {
		t.Errorf("%d bytes of lineage", w.s.lineage.bytes)
	}
	w.running = nil
	w.s.NodeDead(far, "")
	w.s.Get(1, 1, []spec.Ref{w.ref(tasks[1].ID.Return(1))}, false)
	w.pump()
	o := w.s.Object(tasks[1].ID.Return(1))
	if e := wire.ErrorOf(o.Blob); e == nil || e.Type != "ObjectReconstructionFailedError" || !strings.Contains(e.Message, "RAY_max_lineage_bytes") {
		t.Fatalf("%+v", e)
	}
	// The others need what cannot be made again.
	w.s.Get(1, 2, []spec.Ref{w.ref(tasks[4].ID.Return(1))}, false)
	w.pump()
	if e := wire.ErrorOf(w.s.Object(tasks[4].ID.Return(1)).Blob); e == nil || w.got[2] != 1 || len(w.running) != 0 {
		t.Errorf("%v, %d answers, %d tasks run", e, w.got[2], len(w.running))
	}
	for _, f := range tasks {
		w.s.Release(1, f.ID.Return(1), 1)
	}
	w.pump()
	if objects, tasks, _ := w.s.Counts(); objects != 0 || tasks != 0 || w.s.lineage.bytes != 0 || w.s.lineage.first != nil || w.s.lineage.last != nil {
		t.Errorf("%d objects, %d tasks and %d bytes are left", objects, tasks, w.s.lineage.bytes)
	}
}
