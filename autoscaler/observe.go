package autoscaler

import (
	"errors"
	"fmt"
	"time"

	"ray/internal/spec"
)

// Errors that a [Provider] wraps, so that the manager knows what they mean.
var (
	// ErrCapacity: the provider has no such machine to give now.
	ErrCapacity = errors.New("no capacity")
	// ErrUnanswered: the machines may exist or not; the next listings tell.
	ErrUnanswered = errors.New("the provider did not answer")
)

// nodeIndex finds nodes by the machine they run on.
type nodeIndex struct {
	live map[string]*spec.Node // not dead, by machine
	dead map[spec.NodeID]*spec.Node
}

func indexNodes(nodes []spec.Node) nodeIndex {
	x := nodeIndex{map[string]*spec.Node{}, map[spec.NodeID]*spec.Node{}}
	for i := range nodes {
		n := &nodes[i]
		switch {
		case n.Instance == "":
		case n.State == spec.NodeDead:
			x.dead[n.ID] = n
		default:
			x.live[n.Instance] = n
		}
	}
	return x
}

// takeListing learns which machines exist: new ones, adopted ones, lost ones.
func (m *Manager) takeListing(l *Listing, nodes nodeIndex) {
	if l == nil {
		return
	}
	present := map[string]bool{}
	byCloud := map[string]*Instance{}
	for _, row := range m.table.rows {
		if row.CloudID != "" && (byCloud[row.CloudID] == nil || !row.State.Terminal()) {
			byCloud[row.CloudID] = row
		}
	}
	for _, machine := range l.Machines {
		if machine.Stopped && m.resting(machine, byCloud[machine.ID]) {
			continue
		}
		present[machine.ID] = true
		if row := byCloud[machine.ID]; machine.Stopped && (row == nil || row.State.Terminal()) {
			m.adopt(machine, "it was stopped, and its node type has changed since", false)
			continue
		}
		if row := byCloud[machine.ID]; row != nil && !machine.Ending && !machine.Stopped {
			m.stands[row.ID] = l.Begun
		}
		if row := byCloud[machine.ID]; row == nil {
			m.found(machine)
		} else if row.State.Terminal() && l.Begun.After(row.Since()) {
			m.adopt(machine, "it was terminated and still exists", false)
		} else if row.IP == "" && machine.IP != "" {
			m.table.Edit(row.ID, func(i *Instance) { i.IP = machine.IP })
		}
	}
	for _, id := range m.table.ids(func(i *Instance) bool { return i.State.Billed() }) {
		if row := m.table.Get(id); !present[row.CloudID] {
			m.missing(row, l.Begun, nodes)
		}
	}
}

// resting tells of a stopped machine whether it may stay as it is, for a later
// launch of its type. One that fits no type any more would cost for nothing.
func (m *Manager) resting(machine Machine, row *Instance) bool {
	switch {
	case row != nil && !row.State.Terminal():
		return row.StopCause == CauseAutoStop && row.State == Terminating
	case m.config.AutoStop != nil && m.ending:
		return true
	}
	t, known := m.config.NodeTypes[machine.NodeType]
	return known && (t.LaunchHash == "" || machine.LaunchHash == t.LaunchHash)
}

// found is told of a machine that no row names.
func (m *Manager) found(machine Machine) {
	row := m.table.Get(machine.Name)
	switch {
	case row != nil && row.CloudID == "" && (row.State == Queued || row.State == Requested && m.under[row.ID] == ""):
		m.allocated(row, machine, "found at the provider")
	case row != nil && row.State == Requested:
		// The launch call is still under way and will name it.
	case row != nil && !row.State.Terminal():
		m.adopt(machine, "it is a duplicate of "+describe(row), false)
	default:
		_, known := m.config.NodeTypes[machine.NodeType]
		reason := "no record of it"
		if !known {
			reason = fmt.Sprintf("its node type %q is not in the cluster file", machine.NodeType)
		}
		m.adopt(machine, reason, known)
	}
}

// adopt makes a row for a machine that is ours but has none; if it is not to
// be kept it is terminated at once.
func (m *Manager) adopt(machine Machine, reason string, keep bool) {
	id := m.newID(machine.NodeType)
	row := Instance{
		ID: id, CloudID: machine.ID, NodeType: machine.NodeType, IP: machine.IP,
		LaunchHash: machine.LaunchHash, Adopted: true, LaunchReason: "adopted",
	}
	if err := m.table.Add(m.now, row, "adopted: "+reason); err != nil {
		m.event("ERROR", "Internal: "+err.Error())
		return
	}
	if keep {
		m.event("INFO", fmt.Sprintf("Adopting %s: %s.", describe(&row), reason))
		return
	}
	m.event("WARNING", fmt.Sprintf("Terminating %s: %s.", describe(&row), reason))
	m.move(id, Terminating, reason)
}

// missing is told of an instance whose machine a listing does not have.
func (m *Manager) missing(row *Instance, begun time.Time, nodes nodeIndex) {
	switch {
	case row.State == Requested:
		m.unanswered(row, begun)
	case row.State == Terminating:
		if agreed, ok := m.gone[row.ID]; ok && begun.Before(agreed) {
			return
		}
		if m.under[row.ID] == "" && !begun.Before(row.Since()) {
			m.move(row.ID, Terminated, "gone")
		}
	case nodes.live[row.CloudID] != nil || begun.Before(row.Since().Add(m.timing.Listing)):
		// The node is alive, or the machine is too new to be listed.
	case !row.State.Serving():
		m.move(row.ID, Terminated, "gone")
	default:
		m.fail(row.NodeType, "NodeTerminated", row.CloudID, "the machine no longer exists at the provider")
		m.event("WARNING", fmt.Sprintf("Lost %s: the machine no longer exists at the provider.", describe(row)))
		m.move(row.ID, Terminated, "the machine no longer exists")
	}
}

// unanswered handles a launch whose answer was lost, here or with an earlier
// head, and whose machine has not shown up.
func (m *Manager) unanswered(row *Instance, begun time.Time) {
	if m.under[row.ID] != "" || begun.Before(row.Since().Add(m.timing.Request)) {
		return
	}
	if row.Attempts >= maxAttempts {
		details := fmt.Sprintf("no machine appeared after %d launch calls", row.Attempts)
		m.move(row.ID, AllocationFailed, details)
		m.fail(row.NodeType, "LaunchFailed", "", details)
		m.launchFailed(row.NodeType, ErrUnanswered)
		return
	}
	m.move(row.ID, Queued, "the launch was not answered and no machine appeared")
}

// takeNodes follows the nodes of the machines.
func (m *Manager) takeNodes(nodes nodeIndex) {
	for _, id := range m.table.ids(func(i *Instance) bool { return i.CloudID != "" && !i.State.Terminal() }) {
		row := m.table.Get(id)
		if node := nodes.live[row.CloudID]; node != nil {
			m.seen[id] = m.now
			m.nodeLives(row, node)
		} else {
			m.nodeGone(row, nodes.dead[row.NodeID])
		}
	}
}

func (m *Manager) nodeLives(row *Instance, node *spec.Node) {
	if row.NodeID != node.ID {
		m.table.Edit(row.ID, func(i *Instance) { i.NodeID = node.ID })
	}
	if row.State == Allocated || row.State == RayInstalling {
		if row.StopCause == CauseCrashed {
			m.meter.add(countRecovered, 1)
		} else {
			m.meter.add(countUpdated, 1)
		}
		m.meter.took(countUpdateTime, m.now.Sub(row.Since()).Seconds())
		m.table.Edit(row.ID, func(i *Instance) { i.Renew, i.Gentle, i.StopCause = false, false, "" })
		m.move(row.ID, RayRunning, "its node joined")
		m.setupWorked(row.NodeType)
	}
	if row.State == RayRunning && node.State == spec.NodeDraining {
		m.drains(row, node)
	}
}

// drains is told of a node that somebody else asked to leave: the cloud, by the
// node's own watcher, or a person. It ends by itself, by its own deadline.
func (m *Manager) drains(row *Instance, node *spec.Node) {
	cause, why := CauseDrained, "it was asked to leave"
	if node.Drain != nil && node.Drain.Message != "" {
		why = node.Drain.Message
	}
	if node.Preempted() {
		cause = CausePreempted
		m.event("WARNING", fmt.Sprintf("%s is to be taken away: %s.", describe(row), why))
	}
	m.table.Edit(row.ID, func(i *Instance) { i.StopCause, i.Gentle = cause, true })
	m.move(row.ID, RayStopping, why)
}

// nodeGone handles a machine whose node is dead, or unknown if dead is nil.
func (m *Manager) nodeGone(row *Instance, dead *spec.Node) {
	died := dead != nil
	away := m.now.Sub(later(m.seen[row.ID], m.started)) >= m.timing.NodeGrace
	switch row.State {
	case RayRunning:
		if !died && !away {
			return
		}
		details := "its node did not come back"
		if died {
			details = "its node died: " + dead.DeathReason
		}
		m.fail(row.NodeType, "NodeTerminated", row.CloudID, details)
		if died && dead.DeathKind == spec.DeathUnexpected {
			m.restart(row)
		}
		m.move(row.ID, RayStopped, details)
	case RayStopRequested, RayStopping:
		if m.under[row.ID] == "" && (died || away) {
			m.move(row.ID, RayStopped, "its node has left")
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// checkTimeouts ends waits that took too long.
func (m *Manager) checkTimeouts() {
	for _, id := range m.table.ids(func(i *Instance) bool { return !i.State.Terminal() }) {
		row := m.table.Get(id)
		age := m.now.Sub(row.Since())
		switch {
		case row.State == RayInstalling && age >= m.timing.Install && m.under[id] == "":
			m.installFailed(row, fmt.Sprintf("no node joined within %s", m.timing.Install))
		case row.State == RayStopRequested && age >= m.timing.Drain && m.under[id] == "":
			m.stay(id, "the node did not answer the request to drain")
		case row.State == RayStopped && row.Renew && age >= m.timing.Request:
			m.table.Edit(id, func(i *Instance) { i.Renew = false })
		case row.State == RayStopping && age >= m.timing.Drain && !row.Gentle:
			m.move(id, RayStopped, "the node did not leave in time")
		case row.State == Terminating && age >= m.timing.Terminate && m.under[id] == "":
			m.terminationFailed(row, "the machine is still there")
		}
	}
}

// restart decides whether a node that ended by itself is started again on its
// machine: yes, unless that was tried in vain or the node never lived for long.
func (m *Manager) restart(row *Instance) {
	if m.now.Sub(row.Since()) >= m.timing.Steady {
		m.table.Edit(row.ID, func(i *Instance) { i.Restarts = 0 })
	}
	if row.Restarts < maxRestarts {
		m.table.Edit(row.ID, func(i *Instance) { i.Restarts, i.Renew, i.StopCause = i.Restarts+1, true, CauseCrashed })
	}
}
