package pool

import (
	"testing"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

// A task that waits for its child holds a worker: if all parents began before
// the first child, there would be as many workers as parents.
func TestTheDeepestTaskBeginsFirst(t *testing.T) {
	p := New(cpus(1))
	c := p.Class(Key{}, cpus(1), false, "")
	for range 3 {
		p.Add(&Task{Class: c}, 0)
	}
	w := start(p, 0)[0]
	parent := w.InFlight()[0]
	child := &Task{Class: c, Depth: 1}
	p.Add(child, 10)
	p.Blocked(w, parent.Seq, w.Epoch, 10)
	var began *Task
	for _, o := range start(p, 20) {
		if len(o.InFlight()) > 0 {
			began = o.InFlight()[0]
		}
	}
	if began != child {
		t.Fatalf("%+v began, want the child", began)
	}
}

// Jobs take turns whatever the depth of their tasks.
func TestDepthCountsWithinAJobOnly(t *testing.T) {
	p := New(cpus(1))
	mine, yours := p.Class(Key{Job: spec.JobID{1}}, cpus(1), false, ""), p.Class(Key{Job: spec.JobID{2}}, cpus(1), false, "")
	p.push(&Task{Class: yours})
	p.push(&Task{Class: mine, Depth: 9})
	if got := p.inTurn(); got[0] != yours || got[1] != mine {
		t.Errorf("a deeper task of another job pushed in")
	}
}

// The queue is sorted by depth, and by arrival among equals, whatever comes.
func TestQueueOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New(cpus(1))
		c := p.Class(Key{}, cpus(1), false, "")
		number := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			task := &Task{Class: c, Depth: rapid.IntRange(0, 3).Draw(t, "depth"), Queue: int64(number)}
			switch number++; rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				if c.Queued() > 0 {
					back := p.pop(c)
					if rapid.Bool().Draw(t, "requeue") {
						p.pushFront(back)
					}
				}
			default:
				p.push(task)
			}
			for i := c.head + 1; i < len(c.queue); i++ {
				a, b := c.queue[i-1], c.queue[i]
				if a.Depth < b.Depth || a.Depth == b.Depth && a.Queue > b.Queue {
					t.Fatalf("%d/%d before %d/%d", a.Depth, a.Queue, b.Depth, b.Queue)
				}
			}
		}
	})
}

// A task that waits in a bundle lends the bundle's CPUs to its children there.
func TestBlockedTaskLendsTheCPUsOfItsBundle(t *testing.T) {
	p := New(cpus(1))
	g := spec.PlacementGroupID{5}
	if err := p.PrepareBundle(Bundle{Group: g, Resources: cpus(1), Of: 1}); err != nil {
		t.Fatal(err)
	}
	if err := p.CommitBundle(g, 0, 0); err != nil {
		t.Fatal(err)
	}
	c := p.Class(Key{}, GroupResources(cpus(1), g, -1), false, "")
	p.Add(&Task{Class: c}, 0)
	w := start(p, 0)[0]
	p.Add(&Task{Class: c, Depth: 1}, 5)
	p.Blocked(w, w.InFlight()[0].Seq, w.Epoch, 10)
	began := false
	for _, o := range start(p, 20) {
		began = began || o != w && len(o.InFlight()) > 0
	}
	if !began {
		t.Fatal("the child did not begin: it waits for the CPU of its parent, which waits for it")
	}
}

// What a library found out about devices while it had none it keeps.
func TestAWorkerWithoutDevicesGetsNoneLater(t *testing.T) {
	p := New(spec.Resources{spec.CPU: spec.FixedScale, spec.GPU: spec.FixedScale})
	plain := p.Class(Key{}, cpus(1), false, "")
	gpu := p.Class(Key{}, spec.Resources{spec.GPU: spec.FixedScale}, false, "")
	p.Add(&Task{Class: plain}, 0)
	used := start(p, 0)[0]
	p.Done(used, used.InFlight()[0].Seq, 50, 10)
	p.Add(&Task{Class: gpu}, 20)
	if len(used.InFlight()) > 0 {
		t.Fatal("the worker that ran without devices got one")
	}
	fresh := start(p, 30)
	if len(fresh) != 1 || len(fresh[0].InFlight()) != 1 {
		t.Fatalf("no new worker runs it: %+v", fresh)
	}
	if got := p.Available()[spec.GPU]; got != 0 {
		t.Errorf("%v GPUs are free while the task runs", got)
	}
}

// An actor that is to begin at once must not come behind what waits for a worker.
func TestRoomBehindTheQueue(t *testing.T) {
	p := New(cpus(4))
	tasks, other := p.Class(Key{}, cpus(1), false, ""), p.Class(Key{}, cpus(2), true, "")
	none := p.Class(Key{}, spec.Resources{}, true, "")
	for queued, want := range []bool{true, true, true, false, false} {
		if got := p.FitsBehind(other); got != want || !p.Fits(other) || !p.FitsBehind(none) {
			t.Errorf("2 of 4 CPUs behind %d that want 1 each: %v", queued, got)
		}
		p.push(&Task{Class: tasks})
	}
	p.Dispatch(0)
	start(p, 0)
	if p.Fits(other) {
		t.Error("room is left where four tasks run")
	}
}
