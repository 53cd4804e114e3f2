package metrics

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func text(t *testing.T, r *Registry) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b, map[string]string{"NodeAddress": "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRecordsAreSummedAndWritten(t *testing.T) {
	var r Registry
	for range 2 {
		err := r.Add(
			Record{Name: "requests", Kind: Counter, Description: "how many", Tags: map[string]string{"route": "/a"}, Value: 3},
			Record{Name: "level", Kind: Gauge, Value: 4.5},
			Record{Name: "latency", Kind: Histogram, Boundaries: []float64{1, 10}, Counts: []float64{1, 1, 1}, Sum: 55.5, Count: 3},
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	want := `# HELP ray_latency 
# TYPE ray_latency histogram
ray_latency_bucket{NodeAddress="127.0.0.1",le="1.0"} 2.0
ray_latency_bucket{NodeAddress="127.0.0.1",le="10.0"} 4.0
ray_latency_bucket{NodeAddress="127.0.0.1",le="+Inf"} 6.0
ray_latency_sum{NodeAddress="127.0.0.1"} 111.0
ray_latency_count{NodeAddress="127.0.0.1"} 6.0
# HELP ray_level 
# TYPE ray_level gauge
ray_level{NodeAddress="127.0.0.1"} 4.5
# HELP ray_requests_total how many
# TYPE ray_requests_total counter
ray_requests_total{NodeAddress="127.0.0.1",route="/a"} 6.0
`
	if diff := cmp.Diff(want, text(t, &r)); diff != "" {
		t.Error(diff)
	}
}

func TestBadRecordsAreRefusedAndHarmNothing(t *testing.T) {
	var r Registry
	good := Record{Name: "a", Kind: Counter, Value: 1}
	if err := r.Add(good); err != nil {
		t.Fatal(err)
	}
	before := text(t, &r)
	for name, bad := range map[string]Record{
		"no name":      {Kind: Counter},
		"digit first":  {Name: "1a", Kind: Counter},
		"injection":    {Name: "a{} 1\nb", Kind: Counter},
		"other kind":   {Name: "a", Kind: Gauge},
		"unknown kind": {Name: "b", Kind: "summary"},
		"short counts": {Name: "h", Kind: Histogram, Boundaries: []float64{1}, Counts: []float64{1}},
	} {
		if err := r.Add(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if got := text(t, &r); !strings.HasPrefix(got, before) || strings.Contains(got, "ray_h") {
		t.Errorf("after bad records:\n%s", got)
	}
}

func TestTagValuesAreEscaped(t *testing.T) {
	var r Registry
	if err := r.Add(Record{Name: "a", Kind: Gauge, Tags: map[string]string{"k": "x\"\n\\"}, Value: 1}); err != nil {
		t.Fatal(err)
	}
	if got := text(t, &r); !strings.Contains(got, `k="x\"\n\\"} 1.0`) {
		t.Error(got)
	}
}
