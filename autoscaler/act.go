package autoscaler

import (
	"slices"

	"ray/internal/spec"
)

// plan runs the planner and writes its decisions into the table.
func (m *Manager) plan(v View) {
	types, scarce := m.blocked()
	m.measure(v)
	m.reply = Plan(Request{
		Use: m.use,
		Now: m.now, Config: m.config, Instances: m.table.All(), Nodes: v.Nodes, Demands: v.Demands,
		Groups: v.Groups, Constraints: v.Constraints, Blocked: types, Scarce: scarce,
	})
	m.planned = make(map[string]bool, len(v.Demands))
	for _, d := range v.Demands {
		m.planned[demandKey(d)] = true
	}
	place := 0
	for _, l := range m.reply.Launches {
		for range l.Count {
			place++
			row := Instance{
				ID: m.newID(l.NodeType), NodeType: l.NodeType, LaunchHash: m.config.NodeTypes[l.NodeType].LaunchHash,
				LaunchReason: l.Reason, Place: place,
			}
			if err := m.table.Add(m.now, row, l.Reason); err != nil {
				m.event("ERROR", "Internal: "+err.Error())
				continue
			}
			m.adding.add(l.NodeType)
		}
	}
	for _, t := range m.reply.Terminations {
		m.stop(t)
	}
}

// stop begins the end of an instance as far as its state allows.
func (m *Manager) stop(t Termination) {
	row := m.table.Get(t.InstanceID)
	if row == nil || m.held[row.ID].After(m.now) {
		return
	}
	next := map[State]State{Queued: Terminated, Allocated: Terminating, RayRunning: RayStopRequested}[row.State]
	if next == "" || m.under[row.ID] != "" {
		return
	}
	m.table.Edit(row.ID, func(i *Instance) { i.StopCause, i.Renew, i.Gentle = t.Cause, t.Renew, t.Gentle })
	if m.move(row.ID, next, string(t.Cause)+": "+t.Reason) && next != RayStopRequested {
		m.removing.add(row.NodeType + "\x00" + string(t.Cause))
	}
}

// act asks for the next action of every instance that has none under way. It
// looks at states only, so it also picks up what an earlier head left behind.
func (m *Manager) act(nodes nodeIndex) {
	launches := map[string][]Instance{}
	terminations, stops := map[string][]Instance{}, map[string][]Instance{}
	for _, id := range m.table.ids(func(i *Instance) bool { return !i.State.Terminal() && m.under[i.ID] == "" }) {
		row := m.table.Get(id)
		switch row.State {
		case Queued:
			m.table.Edit(id, func(i *Instance) { i.Attempts++ })
			if m.move(id, Requested, row.LaunchReason) {
				launches[row.NodeType] = append(launches[row.NodeType], row.clone())
				m.under[id] = ActLaunch
			}
		case Allocated:
			if m.move(id, RayInstalling, "the node is being set up") {
				m.install(row)
			}
		case RayInstalling:
			if !m.installs[id] {
				m.install(row)
			}
		case RayStopRequested:
			if nodes.live[row.CloudID] != nil {
				m.one(ActDrain, row, string(row.StopCause))
			}
		case RayStopped, RayInstallFailed, AllocationTimeout:
			if row.State == RayStopped && row.Renew {
				m.renew(row)
				continue
			}
			if m.move(id, Terminating, "the machine is no longer needed") {
				m.remove(row, terminations, stops)
			}
		case TerminationFailed:
			if !m.retry[id].After(m.now) && m.move(id, Terminating, "tried again") {
				m.remove(row, terminations, stops)
			}
		case Terminating:
			if _, agreed := m.gone[id]; !agreed {
				m.remove(row, terminations, stops)
			}
		}
	}
	m.batch(ActLaunch, launches)
	m.batch(ActTerminate, terminations)
	m.batch(ActStop, stops)
}

// remove asks for the end of a machine, or, if the cluster is stopped, for it
// to be kept.
func (m *Manager) remove(row *Instance, terminations, stops map[string][]Instance) {
	kind, into := ActTerminate, terminations
	if m.keeps(row) {
		kind, into = ActStop, stops
	}
	into[row.NodeType] = append(into[row.NodeType], row.clone())
	m.under[row.ID] = kind
}

// install sets a machine up by the present configuration.
func (m *Manager) install(row *Instance) {
	hash := m.config.NodeTypes[row.NodeType].RuntimeHash
	m.table.Edit(row.ID, func(i *Instance) { i.RuntimeHash = hash })
	m.one(ActInstall, row, row.LaunchReason)
}

// renew brings back the node of a machine once a listing has shown that the
// machine is still there: a node often ends because its machine does.
func (m *Manager) renew(row *Instance) {
	if m.stands[row.ID].Before(row.Since()) {
		return
	}
	delete(m.installs, row.ID)
	if m.move(row.ID, RayInstalling, "the node is set up again: "+string(row.StopCause)) {
		m.renewing.add(row.NodeType + "\x00" + string(row.StopCause))
		m.install(row)
	}
}

func (m *Manager) one(kind ActionKind, row *Instance, reason string) {
	m.under[row.ID] = kind
	m.actions = append(m.actions, Action{Kind: kind, NodeType: row.NodeType, Instances: []Instance{row.clone()}, Reason: reason})
}

func (m *Manager) batch(kind ActionKind, byType map[string][]Instance) {
	for _, nodeType := range sortedKeys(byType) {
		a := Action{Kind: kind, NodeType: nodeType, Instances: byType[nodeType]}
		if kind == ActLaunch {
			a.Ways = m.waysOf(nodeType)
		}
		m.actions = append(m.actions, a)
	}
}

// waysOf gives the offerings of a type to try: those that are not scarce, and
// all if there is no other, for a machine that was decided on before.
func (m *Manager) waysOf(nodeType string) []spec.Offering {
	_, scarce := m.blocked()
	all := m.config.NodeTypes[nodeType].Offerings
	ways := slices.DeleteFunc(slices.Clone(all), func(o spec.Offering) bool { _, ok := scarce[wayOf(nodeType, o)]; return ok })
	if len(ways) == 0 {
		return all
	}
	return ways
}
