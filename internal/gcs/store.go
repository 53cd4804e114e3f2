package gcs

import (
	"errors"
	"slices"
	"sync"
)

// Write puts one row, or deletes it if Value is nil.
type Write struct {
	Table, Key string
	Value      []byte
}

// Rows is what a store holds: table → key → value.
type Rows map[string]map[string][]byte

// Store keeps rows. One process leads at a time: Load takes the lead and
// gives a term, and a Commit with an older term is refused with ErrStaleTerm.
type Store interface {
	// Load reads everything and starts a new term.
	Load() (Rows, uint64, error)
	// Commit applies the writes in order, all or none, and returns when they
	// are as durable as the store can make them.
	Commit(writes []Write, term uint64) error
	Close() error
}

// ErrStaleTerm refuses the commit of a process that does not lead any more.
var ErrStaleTerm = errors.New("another head leads this store now: this one must stop")

// ErrClosed refuses what comes after Close.
var ErrClosed = errors.New("the store is closed")

// Memory is a Store that lives as long as its process, for clusters made by
// ray.init(), and for tests, where its rows outlive a simulated head.
type Memory struct {
	mu   sync.Mutex
	rows Rows
	term uint64
}

// NewMemory makes an empty one.
func NewMemory() *Memory { return &Memory{rows: Rows{}} }

// Load implements Store.
func (m *Memory) Load() (Rows, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.term++
	out := make(Rows, len(m.rows))
	for table, rows := range m.rows {
		out[table] = make(map[string][]byte, len(rows))
		for k, v := range rows {
			out[table][k] = slices.Clone(v)
		}
	}
	return out, m.term, nil
}

// Commit implements Store.
func (m *Memory) Commit(writes []Write, term uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if term != m.term {
		return ErrStaleTerm
	}
	for _, w := range writes {
		if w.Value == nil {
			delete(m.rows[w.Table], w.Key)
			continue
		}
		if m.rows[w.Table] == nil {
			m.rows[w.Table] = map[string][]byte{}
		}
		m.rows[w.Table][w.Key] = slices.Clone(w.Value)
	}
	return nil
}

// Close implements Store. The rows stay: another Load finds them.
func (m *Memory) Close() error { return nil }
