package launcher

import (
	"testing"
	"time"
)

func TestOnTheWay(t *testing.T) {
	now := time.Now()
	intent := Entry{Time: now.Add(-time.Second), Call: "a", Phase: "intent", Op: "create"}
	named, refused := intent, intent
	named.Phase, named.IDs = "outcome", []string{"i-1"}
	refused.Phase, refused.Error = "outcome", "no"
	old := intent
	old.Time = now.Add(-time.Minute)
	for name, c := range map[string]struct {
		entries []Entry
		ended   map[string]bool
		want    bool
	}{
		"nothing":            {nil, nil, false},
		"no answer":          {[]Entry{intent}, nil, true},
		"no answer, and met": {[]Entry{intent}, map[string]bool{"i-9": true}, false},
		"named":              {[]Entry{intent, named}, nil, true},
		"named and ended":    {[]Entry{intent, named}, map[string]bool{"i-1": true}, false},
		"refused":            {[]Entry{intent, refused}, nil, false},
		"long ago":           {[]Entry{old}, nil, false},
	} {
		if got := onTheWay(c.entries, c.ended, now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
