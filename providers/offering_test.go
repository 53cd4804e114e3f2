package providers

import (
	"strings"
	"testing"
	"time"
)

func TestOffers(t *testing.T) {
	var f Offers
	now := time.Unix(1000, 0)
	w := Wanted{Types: []string{"a", "b"}, Places: []string{"s1", "s2"}, Spot: true, Fallback: true}
	show := func(list []Offering) string {
		var out []string
		for _, o := range list {
			out = append(out, o.String())
		}
		return strings.Join(out, ",")
	}
	f.Plan(w, true, now) // the next request begins with the second place
	f.Lacks(Offering{Type: "a", Place: "s1", Spot: true}, now)
	f.Lacks(Offering{Type: "a", Place: "s2", Spot: true}, now)
	want := "b s2 spot,b s1 spot,a s2 on-demand,a s1 on-demand,b s2 on-demand,b s1 on-demand,a s2 spot,a s1 spot"
	if got := show(f.Plan(w, true, now.Add(time.Minute))); got != want {
		t.Errorf("order %s\nwant  %s", got, want)
	}
	if got := show(f.Plan(Wanted{Types: []string{"a"}, Places: []string{"s1"}, Spot: true}, false, now.Add(scarceFor))); got != "a s1 spot" {
		t.Errorf("%s after the lack was forgotten", got)
	}
	if got, want := show(Rotate(w.All(), 1)), "a s2 spot,a s1 spot,b s2 spot,b s1 spot,a s2 on-demand,a s1 on-demand,b s2 on-demand,b s1 on-demand"; got != want {
		t.Errorf("rotated %s\nwant    %s", got, want)
	}
	if got := show(f.Plan(Wanted{}, false, now)); got != "on-demand" {
		t.Errorf("nothing given: %q", got)
	}
}
