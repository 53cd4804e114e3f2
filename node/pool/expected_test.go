package pool

import (
	"testing"

	"ray/internal/spec"
)

// The first task to end is the shortest of those that began together: the mean
// that is told counts how long the others have run already.
func TestExpectedCountsWhatRuns(t *testing.T) {
	p := New(spec.Resources{spec.CPU: 4 * spec.FixedScale})
	c := p.Class(Key{}, spec.Resources{spec.CPU: spec.FixedScale}, false, "")
	for range 4 {
		p.Add(&Task{Class: c}, 0)
	}
	var workers []*Worker
	for i := range 4 {
		workers = append(workers, p.Started(spec.WorkerID{byte(i + 1)}, Key{}, 0))
	}
	if got := c.Expected(1000); got != 0 {
		t.Fatalf("%v before any has ended", got)
	}
	first := workers[0].InFlight()[0]
	p.Done(workers[0], first.Seq, 1000, 1000)
	if got := c.Expected(1000); got != 4000 { // 1 ms ended, three at 1 ms
		t.Errorf("expected %v µs after the first end", got)
	}
}
