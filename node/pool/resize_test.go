package pool

import (
	"testing"

	"ray/internal/spec"
)

// TestResize checks totals and what is free when something is in use.
func TestResize(t *testing.T) {
	whole := func(n int) spec.Fixed { return spec.Fixed(n) * spec.FixedScale }
	for name, c := range map[string]struct {
		want        spec.Resources
		total, free spec.Fixed // of CPU
		refused     bool
	}{
		"grow":             {spec.Resources{spec.CPU: whole(8)}, whole(8), whole(5), false},
		"shrink":           {spec.Resources{spec.CPU: whole(3)}, whole(3), 0, false},
		"below use":        {spec.Resources{spec.CPU: whole(1)}, whole(3), 0, false},
		"another":          {spec.Resources{"disk": whole(2)}, whole(4), whole(1), false},
		"devices":          {spec.Resources{spec.CPU: whole(8), spec.GPU: whole(1)}, whole(4), whole(1), true},
		"the object store": {spec.Resources{spec.ObjectStoreMemory: whole(1)}, whole(4), whole(1), true},
		"less than none":   {spec.Resources{spec.CPU: -1}, whole(4), whole(1), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := New(spec.Resources{spec.CPU: whole(4), spec.GPU: whole(1)})
			if _, ok := p.led.take(p.led.amounts(spec.Resources{spec.CPU: whole(3)})); !ok {
				t.Fatal("three of four CPUs are not to be had")
			}
			if err := p.Resize(c.want, 0); (err != nil) != c.refused {
				t.Fatalf("error %v", err)
			}
			if total, free := p.Total()[spec.CPU], p.Available()[spec.CPU]; total != c.total || free != c.free {
				t.Errorf("%s of %s free, want %s of %s", free, total, c.free, c.total)
			}
			if err := p.Resize(spec.Resources{"gone": whole(2)}, 0); err != nil {
				t.Fatal(err)
			}
			if err := p.Resize(spec.Resources{"gone": 0}, 0); err != nil {
				t.Fatal(err)
			}
			if _, there := p.Total()["gone"]; there {
				t.Error("what was taken away is still there")
			}
			if got := p.Total()["disk"]; got != max(0, c.want["disk"]) {
				t.Errorf("%s of disk", got)
			}
		})
	}
}
