package autoscaler

import (
	"errors"
	"time"
)

// typeTrials remembers recent failures of a node type.
type typeTrials struct {
	launches int // failed launches since the last that worked
	setups   int // failed set-ups since the last that worked
	until    time.Time
	reason   string
}

func (m *Manager) trials(nodeType string) *typeTrials {
	if m.backoff[nodeType] == nil {
		m.backoff[nodeType] = &typeTrials{}
	}
	return m.backoff[nodeType]
}

// launchFailed keeps the type from being asked for again at once, so that the
// planner takes the next best one. A lack of capacity lasts longer than other
// errors.
func (m *Manager) launchFailed(nodeType string, err error) {
	t := m.trials(nodeType)
	t.launches++
	base := m.timing.BackoffBase
	if errors.Is(err, ErrCapacity) {
		base *= 2
	}
	t.block(m.now, backoffDelay(base, t.launches, m.timing.BackoffMax), err.Error())
}

func (m *Manager) setupFailed(nodeType, details string) {
	t := m.trials(nodeType)
	t.setups++
	t.block(m.now, backoffDelay(m.timing.BackoffBase, t.setups, m.timing.BackoffMax), "set-up failed: "+details)
}

func (t *typeTrials) block(now time.Time, wait time.Duration, reason string) {
	if until := now.Add(wait); until.After(t.until) {
		t.until, t.reason = until, reason
	}
}

func (m *Manager) launchWorked(nodeType string) { m.trials(nodeType).launches = 0 }
func (m *Manager) setupWorked(nodeType string)  { m.trials(nodeType).setups = 0 }

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

func (m *Manager) blocked() map[string]Block {
	out := map[string]Block{}
	for name, t := range m.backoff {
		if t.until.After(m.now) {
			out[name] = Block{t.until, t.reason}
		}
	}
	return out
}
