package node

import (
	"math/rand"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

func body(t *testing.T, b []byte) (*reader, wire.Frame) {
	t.Helper()
	f, n, err := wire.ParseFrame(b, wire.MaxFrame)
	if err != nil || n != len(b) {
		t.Fatalf("not one whole frame: %d of %d bytes, %v", n, len(b), err)
	}
	return &reader{b: f.Body, ok: true}, f
}

func TestRemoteValuesSurviveTheWay(t *testing.T) {
	self, other := spec.NodeID{1}, spec.NodeID{2}
	refs := []spec.Ref{{ID: spec.ObjectID{3}, Owner: other}}
	tests := []struct {
		name string
		in   owner.Value
		want owner.Value
	}{
		{"inline", owner.Value{Where: owner.Inline, Blob: []byte{1, 2}, Refs: refs}, owner.Value{Where: owner.Inline, Blob: []byte{1, 2}, Refs: refs}},
		{"error", owner.Value{Where: owner.Inline, Err: true, Blob: []byte{2}}, owner.Value{Where: owner.Inline, Err: true, Blob: []byte{2}}},
		{"in the sender's arena", owner.Value{Where: owner.Arena, Off: 64, Size: 9, Refs: refs},
			owner.Value{Where: owner.Remote, Size: 9, Nodes: []spec.NodeID{self}, Refs: refs}},
		{"elsewhere", owner.Value{Where: owner.Remote, Size: 9, Nodes: []spec.NodeID{other}},
			owner.Value{Where: owner.Remote, Size: 9, Nodes: []spec.NodeID{other}}},
	}
	for _, test := range tests {
		r := &reader{b: appendRemoteValue(nil, &test.in, self), ok: true}
		if got := r.value(); !r.ok || len(r.b) != 0 {
			t.Errorf("%s: %d bytes are left, ok %v", test.name, len(r.b), r.ok)
		} else if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestStopAndRefFramesSurviveTheWay(t *testing.T) {
	r, f := body(t, appendStop(nil, pHalt, spec.TaskID{7}, 3, true, false))
	if f.Type != pStop || f.Aux != pHalt || r.task() != (spec.TaskID{7}) || r.u32() != 3 || r.u8() != 1 || r.u8() != 0 || !r.ok {
		t.Error("STOP does not read back as it was written")
	}
	r, f = body(t, appendRef(nil, refAsk, spec.ObjectID{5}, spec.NodeID{6}))
	if f.Aux != refAsk || r.object() != (spec.ObjectID{5}) || spec.NodeID(r.take(spec.NodeIDSize)) != (spec.NodeID{6}) || !r.ok {
		t.Error("REF does not read back as it was written")
	}
}

// A frame that is cut off anywhere is refused; it never panics or reads on.
func TestCutOffFramesAreRefused(t *testing.T) {
	s := &owner.Spec{ID: spec.TaskID{1}, NReturns: 1, Payload: []byte("args"), Deps: []spec.Ref{{ID: spec.ObjectID{3}}},
		Tmpl: &owner.Template{Num: 4}}
	values := []owner.Value{{Where: owner.Inline, Blob: []byte{1, 2, 3}}}
	_, task := body(t, appendTask(nil, s, taskGranted, 2, 1, 9, values, spec.NodeID{1}))
	o := &outcome{results: []owner.Result{{Index: 1, Value: values[0]}}, lost: &spec.ErrorInfo{Type: "NodeDiedError"}}
	_, result := body(t, appendResult(nil, spec.TaskID{1}, 2, o, true, 1, spec.NodeID{1}))
	rng := rand.New(rand.NewSource(1))
	for _, whole := range []wire.Frame{task, result} {
		for n := range len(whole.Body) {
			cut := append([]byte{}, whole.Body[:n]...)
			if n > 0 {
				cut[rng.Intn(n)] ^= byte(rng.Intn(4))
			}
			d := newDaemon(t.Context(), Config{})
			f := wire.Frame{Type: whole.Type, Body: cut}
			if err := d.peerFrame(spec.NodeID{9}, &f); err == nil && whole.Type == pTask {
				t.Fatalf("a task of %d of %d bytes was taken", n, len(whole.Body))
			}
			d.stop(nil)
		}
	}
}
