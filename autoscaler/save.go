package autoscaler

// Saved is everything that outlives the head.
type Saved struct {
	Instances []Instance `json:"instances"`
	Memory    Memory     `json:"memory"`
}

// Changes is what has to be stored after a step.
type Changes struct {
	Instances []Instance // changed rows
	Removed   []string   // ids of rows
	Memory    *Memory    // nil if it is as it was
}

// Empty tells whether there is nothing to store.
func (c Changes) Empty() bool { return len(c.Instances)+len(c.Removed) == 0 && c.Memory == nil }

// Unsaved is what has changed since the last Stored.
func (m *Manager) Unsaved() (c Changes) {
	c.Instances, c.Removed = m.table.Dirty()
	if m.remember {
		memory := m.memory()
		c.Memory = &memory
	}
	return c
}

// Stored tells the manager that its changes are durable.
func (m *Manager) Stored() {
	m.table.Clean()
	m.remember = false
}
