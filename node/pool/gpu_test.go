package pool

import (
	"testing"

	"ray/internal/spec"
)

// A task that gets a device for which an idle worker exists runs on that very
// worker, under its lease; the fresh worker that was picked first stays idle.
func TestTaskRunsOnTheWorkerThatGotTheLease(t *testing.T) {
	half := spec.Resources{spec.CPU: spec.FixedScale, spec.GPU: spec.FixedScale / 2}
	third := spec.Resources{spec.CPU: spec.FixedScale, spec.GPU: spec.FixedScale / 4}
	p := New(spec.Resources{spec.CPU: 2 * spec.FixedScale, spec.GPU: spec.FixedScale})
	first, second := p.Class(Key{}, half, false, ""), p.Class(Key{}, third, false, "")
	p.Add(&Task{Class: first}, 0)
	seen := start(p, 0)[0]
	p.Done(seen, 1, 50, 10)
	fresh := p.Started(spec.NewWorkerID(), Key{}, 20)
	p.Effects()

	p.Add(&Task{Class: second}, 30)
	p.Dispatch(30)
	var leased, executing *Worker
	for _, e := range p.Effects() {
		switch e.Kind {
		case EffLease:
			leased = e.Worker
		case EffExec:
			executing = e.Worker
		}
	}
	if leased != seen || executing != seen {
		t.Fatalf("leased %p and executing %p, want the worker %p that has seen the device (fresh: %p)", leased, executing, seen, fresh)
	}
	p.Done(executing, executing.InFlight()[0].Seq, 50, 40)
	if got := p.Available()[spec.CPU]; got != 2*spec.FixedScale {
		t.Errorf("%s of 2 CPUs are free when nothing runs", got)
	}
}
