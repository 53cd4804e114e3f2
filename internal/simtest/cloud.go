package simtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"ray/autoscaler"
	"ray/internal/spec"
)

// Faults are the chances (0 to 1) that things go wrong, and how slow they are
// when they do not.
type Faults struct {
	Capacity      float64 // a launch call is refused for lack of capacity
	Lost          float64 // a launch call works, but its answer is lost
	Terminate     float64 // a terminate call fails
	Install       float64 // a set-up fails
	NeverJoins    float64 // a set-up works, but the node never joins
	CrashPerHour  float64 // a node's daemon dies
	LossPerHour   float64 // a machine disappears
	NoticePerHour float64 // a machine is taken away two minutes after a notice
	Slowness      time.Duration
}

// machine is one made-up machine.
type machine struct {
	autoscaler.Machine
	visible time.Time // in listings from then on
	gone    bool
}

// cloud is a made-up provider.
type cloud struct {
	rnd      *rand.Rand
	faults   Faults
	quota    map[string]int         // by type; no entry means none
	dry      map[spec.Offering]bool // have nothing to give
	machines map[string]*machine
	standing []*machine // those of machines that run, oldest first
	resting  []*machine // those that are stopped
	made     int
	launches int // calls that made a machine
	woken    int // stopped machines that were started
}

// wait is a random latency.
func (c *cloud) wait() time.Duration {
	return time.Duration(c.rnd.Int64N(int64(c.faults.Slowness) + 1))
}

func (c *cloud) chance(p float64) bool { return p > 0 && c.rnd.Float64() < p }

// alive are the machines that exist, oldest first.
func (c *cloud) alive() []*machine {
	c.standing = slices.DeleteFunc(c.standing, func(m *machine) bool { return m.gone })
	return c.standing
}

func (c *cloud) count(nodeType string) int {
	n := 0
	for _, m := range c.alive() {
		if m.NodeType == nodeType {
			n++
		}
	}
	return n
}

// launch makes a machine for each name that has none.
func (c *cloud) launch(now time.Time, nodeType string, instances []autoscaler.Instance, ways []spec.Offering) (out []autoscaler.Machine, tried []autoscaler.Attempt, err error) {
	for _, inst := range instances {
		if have := c.byName(inst.ID); have != nil {
			out = append(out, have.Machine)
			continue
		}
		if again := c.wake(nodeType, inst); again != nil {
			out = append(out, again.Machine)
			continue
		}
		for len(ways) > 0 && c.dry[ways[0]] {
			err := fmt.Errorf("%w in %s", autoscaler.ErrCapacity, ways[0])
			tried = append(tried, autoscaler.Attempt{Offering: ways[0], Err: err})
			if ways = ways[1:]; len(ways) == 0 {
				return out, tried, err
			}
		}
		quota, limited := c.quota[nodeType]
		if limited && c.count(nodeType) >= quota || c.chance(c.faults.Capacity) {
			return out, tried, fmt.Errorf("%w of type %s", autoscaler.ErrCapacity, nodeType)
		}
		c.made++
		c.launches++
		m := &machine{
			Machine: autoscaler.Machine{ID: fmt.Sprintf("m%03d", c.made), Name: inst.ID, NodeType: nodeType, LaunchHash: inst.LaunchHash},
			visible: now.Add(c.wait()),
		}
		c.machines[m.ID] = m
		c.standing = append(c.standing, m)
		out = append(out, m.Machine)
	}
	if c.chance(c.faults.Lost) {
		return nil, nil, autoscaler.ErrUnanswered
	}
	return out, tried, nil
}

// wake starts a stopped machine that is what a launch would make.
func (c *cloud) wake(nodeType string, inst autoscaler.Instance) *machine {
	for n, m := range c.resting {
		if m.NodeType == nodeType && m.LaunchHash == inst.LaunchHash {
			c.resting = slices.Delete(c.resting, n, n+1)
			m.Name, m.Stopped = inst.ID, false
			c.standing = append(c.standing, m)
			c.woken++
			return m
		}
	}
	return nil
}

func (c *cloud) byName(name string) *machine {
	for _, m := range c.alive() {
		if m.Name == name {
			return m
		}
	}
	return nil
}

func (c *cloud) list(now time.Time) []autoscaler.Machine {
	var out []autoscaler.Machine
	for _, m := range c.alive() {
		if !m.visible.After(now) {
			out = append(out, m.Machine)
		}
	}
	for _, m := range c.resting {
		out = append(out, m.Machine)
	}
	return out
}
