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

// What would be waited for is estimated from what has ended, until none of the
// class has begun for longer than that.
func TestLocalWaitGrowsWhileNothingBegins(t *testing.T) {
	p := New(spec.Resources{spec.CPU: spec.FixedScale})
	c := p.Class(Key{}, spec.Resources{spec.CPU: spec.FixedScale}, false, "")
	for range 3 {
		p.Add(&Task{Class: c}, 1000)
	}
	w := p.Started(spec.WorkerID{1}, Key{}, 1000)
	if got := p.LocalWait(c, 0, 1000); got != 2*unknownMicros {
		t.Errorf("%d µs before any has ended", got)
	}
	if got := p.LocalWait(c, 5, 1000); got != 7*unknownMicros {
		t.Errorf("%d µs with those that are not here yet", got)
	}
	const long = 1 << 30
	for _, now := range []int64{1000 + long, 1000 + long + long/2} {
		if got := p.LocalWait(c, 5, now); got != long {
			t.Errorf("%d µs after %d in which none began", got, now-1000)
		}
	}
	p.Done(w, w.InFlight()[0].Seq, 4000, 2000+long) // the next one begins
	if got := p.LocalWait(c, 0, 2000+long); got != 4000 {
		t.Errorf("%d µs once one has ended", got)
	}
}
