package machine

import (
	"testing"
	"time"
)

func TestKillsExplainDeaths(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var k Kills
	k.Look(at(0), 7) // by others
	for _, step := range []struct {
		ms      int
		count   uint64
		death   bool
		because bool
	}{
		{ms: 100, count: 7, death: true}, // by hand
		{ms: 1000, count: 9},
		{ms: 1100, count: 9, death: true, because: true}, // two deaths for two kills
		{ms: 1200, count: 9, death: true, because: true},
		{ms: 1300, count: 9, death: true},
		{ms: 2000, count: 9},
		{ms: 3000, count: 10}, // of a process that is none of ours
		{ms: 4000, count: 10},
		{ms: 5000, count: 10},
		{ms: 6000, count: 10},
		{ms: 6100, count: 10, death: true},                // by hand, long after
		{ms: 6200, count: 11, death: true, because: true}, // not looked at between kill and death
	} {
		if !step.death {
			k.Look(at(step.ms), step.count)
		} else if got := k.Explain(at(step.ms), step.count); got != step.because {
			t.Errorf("death at %d ms: for want of memory %v, want %v", step.ms, got, step.because)
		}
	}
	if len(k.looks) > 8 {
		t.Errorf("%d looks are kept", len(k.looks))
	}
}
