package owner

import (
	"fmt"
	"testing"

	"ray/internal/spec"
	"ray/internal/wire"
)

// Items of an actor's generator are made again by its next life, if the method may be retried.
func TestLostItemsOfAMethodAreMadeAgain(t *testing.T) {
	for _, retries := range []int{0, 1} {
		w := newWorld(t, 1)
		far, a := spec.NodeID{2}, spec.ActorID{9}
		w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: far, Incarnation: 1})
		id := spec.TaskID{1}
		copy(id[8:], a[:])
		tmpl := &Template{Template: spec.Template{Name: "m", Kind: spec.KindActorCall, MaxRetries: retries, Streaming: true}}
		s := &stream{world: w, far: far, task: &Task{Spec: Spec{ID: id, Kind: KindCall, NReturns: 1, Tmpl: tmpl}, Retries: retries}}
		w.s.Submit(s.task, 1)
		s.yield(1, 2)
		s.end(2)
		w.s.Effects()
		w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorRestarting, Incarnation: 1})
		s.lose()
		w.s.Get(1, 7, []spec.Ref{w.ref(s.id(2))}, false)
		w.s.ActorUpdate(spec.ActorInfo{ID: a, State: spec.ActorAlive, NodeID: s.far, Incarnation: 2})
		if again := len(calls(w.s.Effects())); again != retries {
			t.Fatalf("%d calls are sent again with %d retries", again, retries)
		}
		if retries > 0 {
			s.yield(1, 2)
			s.end(2)
		}
		if o := w.s.Object(s.id(2)); o == nil || o.Err != (retries == 0) || !o.Known() {
			t.Errorf("with %d retries the item is %+v", retries, o)
		}
		w.s.Release(1, s.id(1), 1)
		w.s.Release(1, s.id(2), 1)
		s.empty(t)
	}
}

// stream is a generator whose items lie on another node.
type stream struct {
	*world
	task *Task
	far  spec.NodeID
}

func newStream(t *testing.T, retries int) *stream {
	return newGenerator(t, spec.Template{Name: "g", MaxRetries: retries, Streaming: true})
}

func newGenerator(t *testing.T, template spec.Template) *stream {
	w, retries := newWorld(t, 1), template.MaxRetries
	tmpl := &Template{Template: template}
	s := &stream{world: w, far: spec.NodeID{2}, task: &Task{Spec: Spec{ID: w.taskID(2), NReturns: 1, Tmpl: tmpl}, Retries: retries}}
	w.s.Submit(s.task, 1)
	w.pump()
	return s
}

func (s *stream) id(item uint32) spec.ObjectID { return s.task.ID.Return(item + 1) } // items count from 1

func (s *stream) yield(items ...uint32) {
	for _, n := range items {
		s.s.Yield(s.task, s.task.Attempt, n+1, Value{Where: Remote, Size: 1 << 20, Nodes: []spec.NodeID{s.far}})
	}
	s.pump()
}

func (s *stream) end(items uint32) {
	s.s.Done(s.task, s.task.Attempt, StatusOK, []Result{{Index: 1, Value: Value{Where: Inline, Blob: []byte{0}}}}, items)
	s.pump()
}

// lose ends the node that has the items, as a new one takes its place.
func (s *stream) lose() {
	s.running = nil
	s.s.NodeDead(s.far, "")
	s.far[0]++
}

func (s *stream) want(req uint32, item uint32) {
	s.s.Get(1, req, []spec.Ref{s.ref(s.id(item))}, false)
	s.pump()
}

func (s *stream) empty(t *testing.T) {
	t.Helper()
	s.s.Release(1, s.task.ID.Return(1), 1)
	s.pump()
	if objects, tasks, _ := s.s.Counts(); objects != 0 || tasks != 0 {
		t.Fatalf("%d objects and %d tasks are left", objects, tasks)
	}
}

func TestLostItemsAreMadeAgain(t *testing.T) {
	s := newStream(t, 1)
	s.yield(1, 2, 3)
	s.end(3)
	s.s.Release(1, s.id(1), 1) // nobody wants the first any more
	s.lose()
	s.want(7, 2)
	if len(s.running) != 1 || s.running[0] != s.task {
		t.Fatal("the generator does not run again")
	}
	s.yield(1, 2, 3, 4) // it may yield more than before
	s.end(4)
	if s.s.Object(s.id(1)) != nil || s.s.Object(s.id(4)) != nil {
		t.Error("items that nobody wants are there again")
	}
	if o := s.s.Object(s.id(2)); o == nil || o.Where != Remote || o.Err {
		t.Fatalf("the item that was wanted is %+v", o)
	}
	s.lose()
	s.want(8, 3)
	if o := s.s.Object(s.id(3)); o == nil || !o.Err {
		t.Error("it was made again although the retries are used up")
	} else if e := wire.ErrorOf(o.Blob); e.Type != "ObjectReconstructionFailedError" {
		t.Errorf("the error is %s", e.Type)
	}
	s.s.Release(1, s.id(2), 1)
	s.s.Release(1, s.id(3), 1)
	s.empty(t)
}

func TestItemsLostWhileTheGeneratorRuns(t *testing.T) {
	s := newStream(t, 3)
	s.yield(1, 2)
	s.lose()
	s.want(7, 1)
	if len(s.running) != 0 {
		t.Fatal("the generator runs twice at once")
	}
	s.yield(3)
	s.end(3)
	if len(s.running) != 1 || s.task.Attempt != 1 {
		t.Fatal("the generator must run again for the item that it had given before")
	}
	s.yield(1, 2, 3)
	s.end(3)
	for n := uint32(1); n <= 3; n++ {
		if o := s.s.Object(s.id(n)); !o.Known() || o.Err {
			t.Errorf("item %d is %+v", n, o)
		}
		s.s.Release(1, s.id(n), 1)
	}
	s.empty(t)
}

func TestItemsThatAreNotYieldedAgain(t *testing.T) {
	for _, status := range []uint8{StatusOK, StatusError} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := newStream(t, 3)
			s.yield(1, 2)
			s.end(2)
			s.lose()
			s.want(7, 2)
			s.yield(1)
			end := Value{Where: Inline, Blob: []byte{0}}
			if status != StatusOK {
				end = errorValue(&spec.ErrorInfo{Type: "WorkerCrashedError", Message: "x"})
			}
			s.s.Done(s.task, s.task.Attempt, status, []Result{{Index: 1, Value: end}}, 1)
			s.pump()
			o := s.s.Object(s.id(2))
			if !o.Err {
				t.Fatal("who waits for the item waits for ever")
			}
			want := map[bool]string{true: "ObjectReconstructionFailedError", false: "WorkerCrashedError"}[status == StatusOK]
			if e := wire.ErrorOf(o.Blob); e.Type != want {
				t.Errorf("the item's error is %s, want %s", e.Type, want)
			}
			s.s.Release(1, s.id(1), 1)
			s.s.Release(1, s.id(2), 1)
			s.empty(t)
		})
	}
}

// An item that the reader has taken and let go is not given to it once more by
// a further attempt.
func TestNoItemIsGivenTwice(t *testing.T) {
	s := newStream(t, 3)
	s.yield(1)
	s.s.Release(1, s.id(1), 1)
	s.s.Done(s.task, 0, StatusRetry, nil, 1)
	s.pump()
	given := 0
	s.s.Yield(s.task, s.task.Attempt, 2, Value{Where: Inline, Blob: []byte{0}})
	for _, e := range s.s.Effects() {
		if e.Kind == EffItem {
			given++
		}
	}
	if given != 0 || s.s.Object(s.id(1)) != nil {
		t.Error("the first item was given again")
	}
	s.end(1)
	s.empty(t)
}

// refer ends the task with a value that refers to the items.
func (s *stream) refer(where Where, items ...uint32) {
	v := Value{Where: where, Blob: []byte{0}}
	if where == Remote {
		v.Size, v.Nodes = 1<<20, []spec.NodeID{s.far}
	}
	for _, n := range items {
		v.Refs = append(v.Refs, s.ref(s.id(n)))
	}
	s.s.Done(s.task, s.task.Attempt, StatusOK, []Result{{Index: 1, Value: v}}, 0)
	s.pump()
}

// Items that a value refers to live as long as it does, those of an attempt that was tried again no longer than the task.
func TestItemsOfAValue(t *testing.T) {
	s := newGenerator(t, spec.Template{Name: "g", MaxRetries: 2, Dynamic: true})
	s.yield(1, 2, 3)
	s.s.Done(s.task, 0, StatusRetry, nil, 0)
	s.pump()
	s.yield(1, 2)
	s.refer(Inline, 1, 2)
	if s.s.Object(s.id(1)) == nil || s.s.Object(s.id(2)) == nil {
		t.Fatal("items are gone before the value that refers to them")
	}
	if s.s.Object(s.id(3)) != nil {
		t.Error("an item is left that nothing refers to")
	}
	s.s.Deliver(1, s.ref(s.id(2)), 1)
	s.s.Release(1, s.task.ID.Return(1), 1)
	if s.s.Object(s.id(1)) != nil {
		t.Error("an item outlives the value")
	}
	s.lose()
	s.want(7, 2)
	s.yield(1, 2)
	s.refer(Inline, 1, 2)
	if o := s.s.Object(s.id(2)); o == nil || !o.Known() || o.Err || s.s.Object(s.id(1)) != nil {
		t.Errorf("after it was made again the item is %+v", o)
	}
	s.s.Release(1, s.id(2), 1)
	s.empty(t)
}

// A value that is lost itself is made again with all of its items.
func TestAValueIsMadeAgainWithItsItems(t *testing.T) {
	s := newGenerator(t, spec.Template{Name: "g", MaxRetries: 2, Dynamic: true})
	s.yield(1, 2)
	s.refer(Remote, 1, 2)
	s.s.Deliver(1, s.ref(s.id(1)), 1)
	s.lose()
	s.s.Get(1, 7, []spec.Ref{s.ref(s.task.ID.Return(1))}, false)
	s.pump()
	s.yield(1)
	s.s.Release(1, s.id(1), 1)
	s.yield(2)
	s.refer(Remote, 1, 2)
	for n := uint32(1); n <= 2; n++ {
		if o := s.s.Object(s.id(n)); o == nil || !o.Known() || o.Err {
			t.Errorf("item %d is %+v", n, o)
		}
	}
	s.empty(t)
}

func TestItemsOfAValueThatFailed(t *testing.T) {
	s := newGenerator(t, spec.Template{Name: "g", Dynamic: true})
	s.yield(1, 2)
	s.s.Failed(s.task, 0, &spec.ErrorInfo{Type: "WorkerCrashedError", Message: "x"}, true)
	s.pump()
	s.empty(t)
}
