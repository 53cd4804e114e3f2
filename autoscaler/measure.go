package autoscaler

import "ray/internal/spec"

// measure follows which nodes are at most half used, for Consolidate.
func (m *Manager) measure(v View) {
	if !m.config.Consolidate {
		clear(m.use)
		return
	}
	byCloud := map[string]*spec.Node{}
	for i := range v.Nodes {
		if n := &v.Nodes[i]; n.State == spec.NodeAlive && v.Passing[n.ID] {
			byCloud[n.Instance] = n
		}
	}
	now := make(map[string]Use, len(m.use))
	for _, id := range m.table.ids(func(i *Instance) bool { return i.State == RayRunning }) {
		row := m.table.Get(id)
		node := byCloud[row.CloudID]
		if node == nil || node.IdleMS > 0 {
			continue
		}
		used, half := usedOf(node, m.config.NodeTypes[row.NodeType].Resources)
		if !half {
			continue
		}
		use, known := m.use[id]
		if !known {
			use = Use{Since: m.now, Peak: spec.Resources{}}
		}
		for name, amount := range used {
			use.Peak[name] = max(use.Peak[name], amount)
		}
		now[id] = use
	}
	m.use = now
}

// usedOf is what of the declared resources a node uses, and whether that is at
// most half of each. Its own name and bundles of groups are none of them.
func usedOf(n *spec.Node, declared spec.Resources) (used spec.Resources, half bool) {
	used = n.Total.Clone()
	used.Sub(n.Available)
	half = true
	for name, amount := range used {
		if amount <= 0 || declared[name] <= 0 {
			delete(used, name)
			continue
		}
		half = half && 2*amount <= n.Total[name]
	}
	return used, half
}
