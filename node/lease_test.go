package node

import (
	"testing"
	"time"
)

// A lease is asked about while most of it is left, and is over before its end.
func TestLeaseSteps(t *testing.T) {
	at := time.Now()
	l := lease{span: 10 * time.Second, from: at}
	for _, c := range []struct {
		after time.Duration
		want  leaseStep
	}{{0, leaseFine}, {3 * time.Second, leaseFine}, {5 * time.Second, leaseAsk}, {7 * time.Second, leaseAsk}, {8 * time.Second, leaseOver}, {time.Hour, leaseOver}} {
		if got := l.step(at.Add(c.after)); got != c.want {
			t.Errorf("after %s: %v, want %v", c.after, got, c.want)
		}
	}
	l.renew(at.Add(5 * time.Second))
	l.renew(at.Add(time.Second)) // an answer that comes late takes nothing back
	if got := l.step(at.Add(8 * time.Second)); got != leaseFine {
		t.Errorf("renewed: %v", got)
	}
	if got := (&lease{}).step(at); got != leaseFine {
		t.Errorf("before the registration: %v", got)
	}
	// The wall clock counts too: a sleeping machine's own clock stands still.
	l = lease{span: 10 * time.Second, from: at.Round(0)}
	if got := l.step(at.Add(20 * time.Second).Round(0)); got != leaseOver {
		t.Errorf("after a sleep: %v", got)
	}
}
