package node

import (
	"fmt"
	"time"

	"ray/internal/wire"
)

// Of the object store, above which Python's garbage is collected, and how often
// at most: upstream's numbers.
const (
	collectAbove = 0.7
	collectEvery = 30 * time.Second
)

// collector decides when the processes of the cluster are asked to collect
// garbage. A reference in a cycle that nothing reaches any more holds its
// object until then, and a process that does nothing never collects by itself.
type collector struct {
	above float64 // of the store's capacity
	every time.Duration
	last  time.Time
}

func newCollector(c *Config) (collector, error) {
	above, err := c.SystemNumber("high_plasma_storage_usage", collectAbove)
	if err != nil {
		return collector{}, err
	}
	seconds, err := c.SystemNumber("global_gc_min_interval_s", collectEvery.Seconds())
	if err == nil && seconds < 0 {
		err = fmt.Errorf("global_gc_min_interval_s must not be negative, got %v", seconds)
	}
	return collector{above: above, every: time.Duration(seconds * float64(time.Second))}, err
}

// due tells whether to ask now, and notes it.
func (c *collector) due(used, capacity uint64, now time.Time) bool {
	if float64(used) <= c.above*float64(capacity) || !c.last.IsZero() && now.Sub(c.last) < c.every {
		return false
	}
	c.last = now
	return true
}

// collect asks the processes here, and through the nodes that this one has
// to do with those there: references to its objects lie in both.
func (d *daemon) collect() {
	d.collectHere()
	for id, p := range d.peers {
		if p.session != nil && !p.dead {
			d.toPeer(id, func(b []byte) []byte { return wire.AppendFrame(b, wire.Frame{Type: pCollect}) })
		}
	}
}

func (d *daemon) collectHere() {
	for _, c := range d.clients {
		c.control(wire.AppendFrame(nil, wire.Frame{Type: wire.TCollect}))
	}
}
