package node

import (
	"encoding/json"
	"testing"
	"time"
)

func TestGarbageIsCollectedWhenTheStoreIsFullButNotAlways(t *testing.T) {
	c, err := newCollector(&Config{System: map[string]json.RawMessage{"global_gc_min_interval_s": json.RawMessage("10")}})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1000, 0)
	for _, step := range []struct {
		used  uint64
		after time.Duration
		want  bool
	}{
		{used: 70, after: 0, want: false},
		{used: 71, after: 1, want: true},
		{used: 90, after: 10 * time.Second, want: false},
		{used: 50, after: 11 * time.Second, want: false},
		{used: 90, after: 12 * time.Second, want: true},
	} {
		if got := c.due(step.used, 100, start.Add(step.after)); got != step.want {
			t.Errorf("%d %% used after %v: %v", step.used, step.after, got)
		}
	}
	if _, err := newCollector(&Config{System: map[string]json.RawMessage{"global_gc_min_interval_s": json.RawMessage("-1")}}); err == nil {
		t.Error("a negative interval is taken")
	}
}
