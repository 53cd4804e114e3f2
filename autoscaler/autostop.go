package autoscaler

import (
	"fmt"
	"slices"
	"time"

	"ray/internal/spec"
)

// AutoStop ends a whole cluster that nobody uses.
type AutoStop struct {
	Idle   time.Duration `json:"idle"`
	Action string        `json:"action"` // ActionDown or ActionStop
}

// What AutoStop does with the machines.
const (
	ActionDown = "down"
	ActionStop = "stop" // their disks are kept for the next start
)

// keeps tells whether the machine of an instance that ends is only stopped.
func (m *Manager) keeps(row *Instance) bool {
	return row.StopCause == CauseAutoStop && m.config.AutoStop != nil && m.config.AutoStop.Action == ActionStop
}

// CauseAutoStop is why workers leave before the head does.
const CauseAutoStop Cause = "auto_stop"

// idle tells whether nothing runs in the cluster and nothing waits. Room that
// request_resources holds is no work.
func (v *View) idle() bool {
	if v.Drivers > 0 || len(v.Demands) > 0 || len(v.Groups) > 0 {
		return false
	}
	for i := range v.Nodes {
		if n := &v.Nodes[i]; n.State != spec.NodeDead && n.IdleMS <= 0 && !n.Leaving() {
			return false
		}
	}
	return true
}

// autoStop follows how long the cluster has been idle, and tells whether it is
// being ended now. Work that comes before the last worker has gone stops that.
func (m *Manager) autoStop(v *View) (ending bool) {
	c := m.config.AutoStop
	if c == nil || !m.ready(v.Nodes) || !v.idle() {
		if m.ending {
			m.event("INFO", "The cluster is used again: it is not stopped.")
		}
		m.idleSince, m.ending = time.Time{}, false
		return false
	}
	if m.idleSince.IsZero() {
		m.idleSince = m.now
	}
	if m.now.Sub(m.idleSince) < c.Idle {
		return false
	}
	if !m.ending {
		m.ending = true
		m.event("WARNING", fmt.Sprintf("Nothing has run for %s: the cluster is stopped (auto_stop, action %s).", c.Idle, c.Action))
	}
	return true
}

// end stops every worker, and the head's machine when the provider shows no
// worker any more.
func (m *Manager) end(l *Listing) {
	m.reply = Reply{}
	left := m.table.ids(func(i *Instance) bool { return !i.State.Terminal() })
	for _, id := range left {
		row := m.table.Get(id)
		m.stop(Termination{InstanceID: id, NodeType: row.NodeType, Cause: CauseAutoStop, Reason: "nothing has run for long"})
	}
	if len(left) > 0 || l == nil || l.runs() || m.under[headRow] != "" || m.retry[headRow].After(m.now) {
		return
	}
	m.under[headRow] = ActEnd
	m.actions = append(m.actions, Action{Kind: ActEnd, Reason: string(CauseAutoStop), Instances: []Instance{{ID: headRow}}})
}

// runs tells whether any machine runs, or is on its way up or down.
func (l *Listing) runs() bool {
	return slices.ContainsFunc(l.Machines, func(m Machine) bool { return !m.Stopped })
}

// headRow stands for the head's machine, which has no row.
const headRow = "\x00head"

// ended is told that the head's machine could not be ended: if it could, this
// process would be gone.
func (m *Manager) ended(err error) {
	if err != nil {
		m.retry[headRow] = m.now.Add(m.timing.BackoffBase)
		m.event("ERROR", fmt.Sprintf("auto_stop: the head's machine could not be ended: %s. It is tried again.", err))
		return
	}
	m.under[headRow] = ActEnd // its end has been agreed to
}

// autoStopStatus is the countdown, nil without one.
func (m *Manager) autoStopStatus() *spec.AutoStop {
	c := m.config.AutoStop
	if c == nil {
		return nil
	}
	s := &spec.AutoStop{Action: c.Action, IdleMS: c.Idle.Milliseconds()}
	if !m.idleSince.IsZero() {
		s.AtMS = m.idleSince.Add(c.Idle).UnixMilli()
	}
	return s
}
