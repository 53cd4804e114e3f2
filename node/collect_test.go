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
		tight bool
		after time.Duration
		want  bool
	}{
		{used: 70, after: 0, want: false},
		{used: 71, after: 1, want: true},
		{used: 90, after: 10 * time.Second, want: false},
		{used: 50, after: 11 * time.Second, want: false},
		{used: 90, after: 12 * time.Second, want: true},
		{used: 90, tight: true, after: 13 * time.Second, want: true},
		{used: 90, tight: true, after: 14 * time.Second, want: false},
		{used: 50, tight: true, after: 24 * time.Second, want: true},
	} {
		if got := c.due(step.used, 100, step.tight, start.Add(step.after)); got != step.want {
			t.Errorf("%d %% used, tight: %v, after %v: %v", step.used, step.tight, step.after, got)
		}
	}
	if _, err := newCollector(&Config{System: map[string]json.RawMessage{"global_gc_min_interval_s": json.RawMessage("-1")}}); err == nil {
		t.Error("a negative interval is taken")
	}
}

func TestEachNodeCollectsNowAndThen(t *testing.T) {
	c, err := newCollector(&Config{System: map[string]json.RawMessage{"local_gc_interval_s": json.RawMessage("10")}})
	if err != nil {
		t.Fatal(err)
	}
	start := c.lastHere
	for _, step := range []struct {
		after time.Duration
		all   bool // the whole cluster collected then
		want  bool
	}{
		{after: 0, want: false},
		{after: 9 * time.Second, want: false},
		{after: 10 * time.Second, want: true},
		{after: 15 * time.Second, all: true, want: false},
		{after: 21 * time.Second, want: false},
		{after: 25 * time.Second, want: true},
	} {
		now := start.Add(step.after)
		if step.all && !c.due(100, 100, true, now) {
			t.Fatal("a full store is no reason")
		}
		if got := c.dueHere(now); got != step.want {
			t.Errorf("after %v: %v", step.after, got)
		}
	}
	if _, err := newCollector(&Config{System: map[string]json.RawMessage{"local_gc_interval_s": json.RawMessage("-1")}}); err == nil {
		t.Error("a negative interval is taken")
	}
}
