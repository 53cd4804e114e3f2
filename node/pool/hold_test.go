package pool

import (
	"slices"
	"testing"

	"ray/internal/spec"
)

// Held resources are gone until they are released, devices included.
func TestHold(t *testing.T) {
	need := spec.FromFloats(map[string]float64{spec.CPU: 1, spec.GPU: 1})
	p := New(spec.FromFloats(map[string]float64{spec.CPU: 2, spec.GPU: 1}))
	h, err := p.Hold(need)
	if err != nil || !slices.Equal(h.Devices()[spec.GPU], []string{"0"}) || p.Available()[spec.CPU] != spec.FixedScale {
		t.Fatalf("%v, GPUs %v, free %s", err, h.Devices(), p.Available())
	}
	if _, err := p.Hold(need); err == nil {
		t.Error("a GPU was held twice")
	}
	p.Release(h, 0)
	if free := p.Available(); free[spec.CPU] != 2*spec.FixedScale || free[spec.GPU] != spec.FixedScale {
		t.Errorf("free %s", free)
	}
	none, err := p.Hold(nil)
	if err != nil || len(none.Devices()) > 0 {
		t.Errorf("nothing: %v", err)
	}
	p.Release(none, 0)
}
