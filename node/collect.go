package node

import (
	"fmt"
	"time"

	"ray/internal/wire"
)

// When Python's garbage is collected: the part of the object store above which
// that is done, and how often at most, in the whole cluster; how often at most
// when room is wanted that is not free; and how often in each node's own
// processes, whatever is used. Upstream's numbers.
const (
	collectAbove  = 0.7
	collectEvery  = 30 * time.Second
	collectTight  = 10 * time.Second
	collectAlways = 90 * time.Minute
)

// collector decides when the processes of the cluster are asked to collect
// garbage. A reference in a cycle that nothing reaches any more holds its
// object until then, and a process that does nothing never collects by itself.
type collector struct {
	above  float64 // of the store's capacity
	every  time.Duration
	always time.Duration // the processes of this node; 0 means never

	last, lastTight, lastHere time.Time
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
	if err != nil {
		return collector{}, err
	}
	always, err := c.SystemNumber("local_gc_interval_s", collectAlways.Seconds())
	if err == nil && always < 0 {
		err = fmt.Errorf("local_gc_interval_s must not be negative, got %v", always)
	}
	return collector{above: above, every: inSeconds(seconds), always: inSeconds(always), lastHere: time.Now()}, err
}

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// due tells whether to ask all now, and notes it. used is the most that was
// used since the last call, tight: room was wanted that was not free.
func (c *collector) due(used, capacity uint64, tight bool, now time.Time) bool {
	switch {
	case tight && passed(c.lastTight, min(c.every, collectTight), now):
		c.lastTight = now
	case float64(used) > c.above*float64(capacity) && passed(c.last, c.every, now):
		c.last = now
	default:
		return false
	}
	c.lastHere = now
	return true
}

// dueHere tells whether to ask this node's processes now, and notes it.
func (c *collector) dueHere(now time.Time) bool {
	if c.always == 0 || now.Sub(c.lastHere) < c.always {
		return false
	}
	c.lastHere = now
	return true
}

func passed(last time.Time, span time.Duration, now time.Time) bool {
	return last.IsZero() || now.Sub(last) >= span
}

// lookForGarbage has garbage collected where it is time.
func (d *daemon) lookForGarbage(now time.Time) {
	used, tight := d.store.Peak()
	switch {
	case d.collector.due(used, uint64(d.cfg.ObjectStoreBytes), tight, now):
		d.collect()
	case d.collector.dueHere(now):
		d.collectHere()
	}
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
