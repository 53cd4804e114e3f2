package runtimeenv

import (
	"cmp"
	"slices"
)

// Row tells about one thing that was made, is being made or failed.
type Row struct {
	Title    string
	State    string // Making, Ready or Failed
	Progress string // Making: the installer's last line; Failed: the error
	Bytes    int64
	Uses     int
	MadeMS   int64 // when it was ready or failed
}

// Rows lists the cache and the latest failures.
func (m *Manager) Rows() []Row {
	m.mu.Lock()
	c := m.cache
	m.mu.Unlock()
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var rows []Row
	for _, e := range c.entries {
		row := Row{Title: e.about.Title, State: Ready, Bytes: e.about.Bytes, Uses: e.uses, MadeMS: e.about.MadeMS}
		if e.output != nil {
			row.State, row.Progress = Making, e.output.last()
		}
		rows = append(rows, row)
	}
	for _, f := range c.failures {
		rows = append(rows, Row{Title: f.title, State: Failed, Progress: f.err, MadeMS: f.ms})
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a.MadeMS, b.MadeMS), cmp.Compare(a.Title, b.Title)) })
	return rows
}
