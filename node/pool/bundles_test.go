package pool

import (
	"testing"

	"ray/internal/spec"
)

// TestGroupsThatComeAndGoLeaveNoNames: a ledger that grows with every group
// makes every heartbeat slower than the one before.
func TestGroupsThatComeAndGoLeaveNoNames(t *testing.T) {
	cpu := func(n float64) spec.Resources { return spec.FromFloats(map[string]float64{spec.CPU: n}) }
	p := New(cpu(4))
	was := len(p.led.names)
	cycle := func(i byte, use bool) {
		var id spec.PlacementGroupID
		id[0], id[1] = i, 1
		if err := p.PrepareBundle(Bundle{Group: id, Resources: cpu(1)}); err != nil {
			t.Fatal(err)
		}
		if err := p.CommitBundle(id, 0, 0); err != nil {
			t.Fatal(err)
		}
		if n := p.Total()["CPU_group_0_"+id.String()]; n != spec.FixedScale {
			t.Fatalf("offers %v of the bundle", n)
		}
		if use {
			p.Class(Key{}, GroupResources(cpu(1), id, 0), false, "")
		}
		p.ReturnBundle(id, 0, 0)
	}
	for i := range 200 {
		cycle(byte(i), false)
	}
	if now := len(p.led.names); now > was+4 {
		t.Errorf("%d names after 200 groups, %d before", now, was)
	}
	if got := p.Available(); got[spec.CPU] != 4*spec.FixedScale || len(got) != 1 {
		t.Errorf("available %v", got)
	}
	// What a class counts with keeps its index.
	cycle(201, true)
	was = len(p.led.names)
	cycle(202, false)
	if len(p.led.names) != was+4 {
		t.Errorf("%d names, not %d: an index of a class was given away", len(p.led.names), was+4)
	}
}

func TestGroupIsHereOnceEveryBundleIs(t *testing.T) {
	p := New(cpus(4))
	g := spec.PlacementGroupID{7}
	for i := range 2 {
		if err := p.PrepareBundle(Bundle{Group: g, Index: i, Resources: cpus(1), Of: 2}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(step string, here bool) {
		t.Helper()
		if p.HasGroup(g) != here {
			t.Errorf("%s: here is %v", step, !here)
		}
	}
	want("prepared", false)
	_ = p.CommitBundle(g, 0, 0)
	want("half committed", false)
	_ = p.CommitBundle(g, 1, 0)
	want("committed", true)
	p.DoubtGroup(g)
	want("being removed", false)
	p.ReturnBundle(g, 0, 0)
	want("half returned", false)
}
