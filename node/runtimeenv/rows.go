package runtimeenv

import (
	"cmp"
	"slices"
	"time"
)

// States of a Row.
const (
	Making = "MAKING"
	Ready  = "READY"
	Failed = "FAILED"
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

// Making lists what is being made at the moment.
func (m *Manager) Making() (rows []Row) {
	m.mu.Lock()
	c := m.cache
	m.mu.Unlock()
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if e.output != nil {
			rows = append(rows, Row{Title: e.about.Title, State: Making, Progress: e.output.last(), Uses: e.uses})
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Title, b.Title) })
	return rows
}

// Progress tells what is being made for a job at the moment, with the
// installer's last line, and since when; "" if nothing is.
func (m *Manager) Progress(job string) (text string, since time.Time) {
	m.mu.Lock()
	c, log := m.cache, m.logs[job]
	m.mu.Unlock()
	if c == nil || log == nil {
		return "", since
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if e.output != nil && e.output.has(log) && (since.IsZero() || e.since.Before(since)) {
			text, since = e.about.Title+": "+e.output.last(), e.since
		}
	}
	return text, since
}
