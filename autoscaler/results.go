package autoscaler

import (
	"errors"
	"fmt"
)

// takeResults learns how actions have ended.
func (m *Manager) takeResults(results []Result, nodes nodeIndex) {
	for _, r := range results {
		for _, inst := range r.Action.Instances {
			delete(m.under, inst.ID)
		}
		switch r.Action.Kind {
		case ActLaunch:
			m.launched(r)
		case ActInstall:
			m.installed(r.Action.Instances[0].ID, r.Err, nodes)
		case ActDrain:
			m.drained(r.Action.Instances[0].ID, r.Err)
		case ActTerminate, ActStop:
			m.terminated(r)
		case ActEnd:
			m.ended(r.Err)
		}
	}
}

func (m *Manager) launched(r Result) {
	made := map[string]Machine{}
	for _, machine := range r.Machines {
		made[machine.Name] = machine
	}
	err := r.Err
	if err == nil {
		err = errors.New("the provider made fewer machines than asked for")
	}
	failed := 0
	for _, inst := range r.Action.Instances {
		row := m.table.Get(inst.ID)
		if row == nil || row.State != Requested {
			continue
		}
		if machine, ok := made[inst.ID]; ok {
			m.allocated(row, machine, "the provider made it")
		} else if !errors.Is(err, ErrUnanswered) {
			failed++
			m.move(inst.ID, AllocationFailed, err.Error())
		}
	}
	m.attempted(r.Action.NodeType, r.Attempts)
	if failed > 0 {
		m.meter.add(countFailedCreate, failed)
		m.meter.add(countLaunchErrors, 1)
		m.fail(r.Action.NodeType, "LaunchFailed", "", err.Error())
		if len(r.Attempts) == 0 || !errors.Is(err, ErrCapacity) {
			m.launchFailed(r.Action.NodeType, err)
		}
		m.event("WARNING", fmt.Sprintf("Launching %d node(s) of type %s failed: %s. The next try is %s.",
			failed, r.Action.NodeType, err, untilText(m.now, m.nextTry(r.Action.NodeType))))
	}
}

func (m *Manager) allocated(row *Instance, machine Machine, reason string) {
	m.table.Edit(row.ID, func(i *Instance) { i.CloudID, i.IP = machine.ID, machine.IP })
	if row.State == Queued {
		m.move(row.ID, Requested, "its machine exists already")
	}
	asked := row.Since()
	if m.move(row.ID, Allocated, reason) {
		m.meter.add(countStarted, 1)
		m.meter.took(countCreateTime, m.now.Sub(asked).Seconds())
	}
	m.launchWorked(row.NodeType)
}

func (m *Manager) installed(id string, err error, nodes nodeIndex) {
	row := m.table.Get(id)
	if row == nil || row.State != RayInstalling {
		return
	}
	// A node that serves is what counts, for example when an earlier head's
	// set-up of the same machine came through.
	if err == nil || nodes.live[row.CloudID] != nil {
		m.installs[id] = true // now its node has to join
		return
	}
	m.installFailed(row, err.Error())
}

func (m *Manager) installFailed(row *Instance, details string) {
	if !m.move(row.ID, RayInstallFailed, details) {
		return
	}
	if row.StopCause == CauseCrashed {
		m.meter.add(countFailedAgain, 1)
	} else {
		m.meter.add(countFailedUpdate, 1)
	}
	m.fail(row.NodeType, "NodeTerminated", row.CloudID, "set-up failed: "+details)
	m.event("ERROR", fmt.Sprintf("Setting up %s failed: %s. It is terminated.", describe(row), details))
	m.setupFailed(row.NodeType, details)
}

func (m *Manager) drained(id string, err error) {
	row := m.table.Get(id)
	if row == nil || row.State != RayStopRequested {
		return
	}
	if err != nil {
		m.held[id] = m.now.Add(m.timing.Refused)
		m.meter.add(countDrainErrors, 1)
		m.stay(id, "refused to drain: "+err.Error())
		return
	}
	m.move(id, RayStopping, "drains")
	if !row.Renew {
		m.removing.add(row.NodeType + "\x00" + string(row.StopCause))
	}
}

// stay takes back a stop that its node has not agreed to.
func (m *Manager) stay(id, reason string) {
	m.table.Edit(id, func(i *Instance) { i.StopCause, i.Renew, i.Gentle = "", false, false })
	m.move(id, RayRunning, reason)
}

func (m *Manager) terminated(r Result) {
	for _, inst := range r.Action.Instances {
		row := m.table.Get(inst.ID)
		if row == nil || row.State != Terminating {
			continue
		}
		if r.Err != nil {
			m.terminationFailed(row, r.Err.Error())
			continue
		}
		m.gone[inst.ID] = m.now
	}
}

func (m *Manager) terminationFailed(row *Instance, details string) {
	m.move(row.ID, TerminationFailed, details)
	delete(m.gone, row.ID)
	m.retry[row.ID] = m.now.Add(m.timing.BackoffBase)
	m.event("ERROR", fmt.Sprintf("Terminating %s failed: %s. It is tried again.", describe(row), details))
}
