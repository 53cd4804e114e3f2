package autoscaler

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"ray/internal/spec"
)

// Trial remembers recent failures of a node type or of an offering.
type Trial struct {
	Launches int       `json:"launches,omitempty"` // failed launches since the last that worked
	Setups   int       `json:"setups,omitempty"`   // failed set-ups since the last that worked
	Until    time.Time `json:"until"`              // not to be tried before
	Reason   string    `json:"reason,omitempty"`
}

// Way names an offering in what is remembered. Without a machine type of its
// own an offering means something else for each node type.
type Way struct {
	NodeType string `json:"node_type,omitempty"`
	spec.Offering
}

func wayOf(nodeType string, o spec.Offering) Way {
	if o.Type != "" {
		nodeType = ""
	}
	return Way{nodeType, o}
}

func (w Way) String() string {
	if w.NodeType == "" {
		return w.Offering.String()
	}
	return w.NodeType + " " + w.Offering.String()
}

func (w Way) compare(o Way) int {
	return cmp.Or(cmp.Compare(w.NodeType, o.NodeType), cmp.Compare(w.Type, o.Type), cmp.Compare(w.Place, o.Place), compareBool(w.Spot, o.Spot))
}

// WayTrial is the Trial of an offering.
type WayTrial struct {
	Way
	Trial
}

// Memory is what the autoscaler remembers besides the instances: what could
// not be had lately, and the failures that people are shown.
type Memory struct {
	Types    map[string]Trial `json:"types,omitempty"`
	Ways     []WayTrial       `json:"ways,omitempty"` // sorted
	Failures []spec.Failure   `json:"failures,omitempty"`
}

// Attempt is an offering that was asked for: Err is nil if it gave a machine.
type Attempt struct {
	Offering spec.Offering
	Err      error
}

func (m *Manager) trials(nodeType string) *Trial {
	if m.backoff[nodeType] == nil {
		m.backoff[nodeType] = &Trial{}
	}
	m.remember = true
	return m.backoff[nodeType]
}

// attempted learns which offerings had something to give. One that had nothing
// is left alone for a while that doubles with each time, up to a limit: the
// planner takes the next best one in the same round.
func (m *Manager) attempted(nodeType string, attempts []Attempt) {
	for _, a := range attempts {
		way := wayOf(nodeType, a.Offering)
		if a.Err == nil {
			if m.ways[way] != nil {
				delete(m.ways, way)
				m.remember = true
			}
			continue
		}
		if !errors.Is(a.Err, ErrCapacity) {
			continue
		}
		t := m.ways[way]
		if t == nil {
			t = &Trial{}
			m.ways[way] = t
		}
		t.Launches++
		t.block(m.now, backoffDelay(m.timing.OfferingBase, t.Launches, m.timing.BackoffMax), a.Err.Error())
		m.remember = true
	}
}

// launchFailed keeps the type from being asked for again at once, so that the
// planner takes the next best one. A lack of capacity lasts longer than other
// errors.
func (m *Manager) launchFailed(nodeType string, err error) {
	t := m.trials(nodeType)
	t.Launches++
	base := m.timing.BackoffBase
	if errors.Is(err, ErrCapacity) {
		base *= 2
	}
	t.block(m.now, backoffDelay(base, t.Launches, m.timing.BackoffMax), err.Error())
}

func (m *Manager) setupFailed(nodeType, details string) {
	t := m.trials(nodeType)
	t.Setups++
	t.block(m.now, backoffDelay(m.timing.BackoffBase, t.Setups, m.timing.BackoffMax), "set-up failed: "+details)
}

func (t *Trial) block(now time.Time, wait time.Duration, reason string) {
	if until := now.Add(wait); until.After(t.Until) {
		t.Until, t.Reason = until, reason
	}
}

func (m *Manager) launchWorked(nodeType string) {
	if t := m.backoff[nodeType]; t != nil && t.Launches > 0 {
		t.Launches, m.remember = 0, true
	}
}

func (m *Manager) setupWorked(nodeType string) {
	if t := m.backoff[nodeType]; t != nil && t.Setups > 0 {
		t.Setups, m.remember = 0, true
	}
}

// backoffDelay doubles base for each failure after the first, up to most.
func backoffDelay(base time.Duration, failures int, most time.Duration) time.Duration {
	for range failures - 1 {
		base *= 2
		if base >= most {
			return most
		}
	}
	return min(base, most)
}

// blocked is what the planner must leave alone now.
func (m *Manager) blocked() (types map[string]Block, ways map[Way]Block) {
	types, ways = map[string]Block{}, map[Way]Block{}
	for name, t := range m.backoff {
		if t.Until.After(m.now) {
			types[name] = Block{t.Until, t.Reason}
		}
	}
	for way, t := range m.ways {
		if t.Until.After(m.now) {
			ways[way] = Block{t.Until, t.Reason}
		}
	}
	return types, ways
}

// forgetTrials drops failures that are long over.
func (m *Manager) forgetTrials() {
	old := func(t *Trial) bool { return m.now.Sub(t.Until) > 2*m.timing.BackoffMax }
	before := len(m.backoff) + len(m.ways)
	maps.DeleteFunc(m.backoff, func(_ string, t *Trial) bool { return old(t) })
	maps.DeleteFunc(m.ways, func(_ Way, t *Trial) bool { return old(t) })
	if len(m.backoff)+len(m.ways) != before {
		m.remember = true
	}
}

// memory is what has to be stored of it.
func (m *Manager) memory() Memory {
	out := Memory{Types: map[string]Trial{}, Failures: slices.Clone(m.failures)}
	for name, t := range m.backoff {
		out.Types[name] = *t
	}
	for way, t := range m.ways {
		out.Ways = append(out.Ways, WayTrial{way, *t})
	}
	slices.SortFunc(out.Ways, func(a, b WayTrial) int { return a.compare(b.Way) })
	return out
}

// recall takes up what an earlier head remembered.
func (m *Manager) recall(memory Memory) {
	for name, t := range memory.Types {
		m.backoff[name] = &t
	}
	for _, w := range memory.Ways {
		t := w.Trial
		m.ways[w.Way] = &t
	}
	m.failures = slices.Clone(memory.Failures)
}

// backoffs lists what is left alone now, for people.
func (m *Manager) backoffs() []spec.Backoff {
	var out []spec.Backoff
	types, ways := m.blocked()
	for _, name := range sortedKeys(types) {
		out = append(out, spec.Backoff{What: name, UntilMS: types[name].Until.UnixMilli(), Reason: types[name].Reason})
	}
	for _, way := range slices.SortedFunc(maps.Keys(ways), Way.compare) {
		out = append(out, spec.Backoff{What: way.String(), UntilMS: ways[way].Until.UnixMilli(), Reason: ways[way].Reason})
	}
	return out
}

// nextTry is when a machine of the type may be asked for again.
func (m *Manager) nextTry(nodeType string) time.Time {
	types, scarce := m.blocked()
	var first time.Time
	for _, o := range m.config.NodeTypes[nodeType].Offerings {
		block, ok := scarce[wayOf(nodeType, o)]
		if !ok {
			first = m.now
		} else if first.IsZero() || block.Until.Before(first) {
			first = block.Until
		}
	}
	return later(first, types[nodeType].Until)
}
