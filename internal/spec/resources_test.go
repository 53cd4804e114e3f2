package spec

import "testing"

// A request for more than any machine has must not turn into one for less than
// nothing, which fits everywhere.
func TestHugeAmounts(t *testing.T) {
	for _, f := range []float64{1e15, 1e18, 1e300} {
		need := FromFloats(map[string]float64{Memory: f})
		if need[Memory] <= 0 || FromFloats(map[string]float64{Memory: 64 << 40}).Fits(need) {
			t.Errorf("%g bytes of memory are %v", f, need)
		}
		sum := need.Clone()
		for range 100 {
			sum.Add(need)
		}
		if sum[Memory] < need[Memory] {
			t.Errorf("a hundred times %g is %v", f, sum)
		}
	}
	if got := ToFixed(0.12345); got != 1235 && got != 1234 {
		t.Errorf("0.12345 is %d", got)
	}
}
