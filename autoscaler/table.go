package autoscaler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ray/internal/spec"
)

// Instance is one machine from the decision to launch it until its end.
type Instance struct {
	// ID is ours; it is given to the provider at launch as the machine's
	// name, so that a machine whose creation was not answered is recognised.
	ID string `json:"id"`
	// CloudID is the provider's, known from ALLOCATED on.
	CloudID    string      `json:"cloud_id,omitempty"`
	NodeType   string      `json:"node_type"`
	State      State       `json:"state"`
	Version    int64       `json:"version"` // table version of the last change
	IP         string      `json:"ip,omitempty"`
	NodeID     spec.NodeID `json:"node_id,omitzero"` // its node, once it joined
	LaunchHash string      `json:"launch_hash,omitempty"`
	Attempts   int         `json:"attempts,omitempty"` // launch calls made
	Adopted    bool        `json:"adopted,omitempty"`  // found at the provider, not launched from this table
	Reason     string      `json:"reason,omitempty"`   // of the last change
	// RuntimeHash is what its node was set up by.
	RuntimeHash string `json:"runtime_hash,omitempty"`
	// Renew: when its node has left it is set up again on the same machine.
	Renew bool `json:"renew,omitempty"`
	// Gentle: its node takes no new work and leaves when it is idle.
	Gentle   bool `json:"gentle,omitempty"`
	Restarts int  `json:"restarts,omitempty"` // of its node after it ended by itself, in a row
	// Why it was launched, and why it is being stopped.
	LaunchReason string   `json:"launch_reason,omitempty"`
	Place        int      `json:"place,omitempty"` // in the order of those that its round launched
	StopCause    Cause    `json:"stop_cause,omitempty"`
	History      []Change `json:"history"`
}

// Change is one entry of an instance's history.
type Change struct {
	State  State  `json:"state"`
	TimeMS int64  `json:"time_ms"`
	Reason string `json:"reason,omitempty"`
}

// maxHistory bounds an instance's history: a machine that drains and is
// refused every few seconds must not grow its record for ever. The first entry
// stays, the oldest of the others go.
const maxHistory = 32

// Since is when the instance entered its present state.
func (i *Instance) Since() time.Time {
	return time.UnixMilli(i.History[len(i.History)-1].TimeMS)
}

// Table holds all instances by ID. It is a value with no lock: one goroutine
// owns it. The zero Table is not usable; see NewTable.
type Table struct {
	version int64
	rows    map[string]*Instance
	changed map[string]bool // since the last Clean
	removed []string
}

// NewTable makes a table of stored rows. Rows in an unknown state (written by
// a newer program) are kept as RAY_RUNNING if they name a machine, so that it
// is not lost, and dropped otherwise; the second result says so for each.
func NewTable(rows []Instance) (*Table, []string) {
	t := &Table{rows: map[string]*Instance{}, changed: map[string]bool{}}
	var notes []string
	for _, row := range rows {
		if !row.State.Known() {
			notes = append(notes, fmt.Sprintf("instance %s was stored in the unknown state %q", row.ID, row.State))
			if row.CloudID == "" {
				continue
			}
			row.State = RayRunning
		}
		if len(row.History) == 0 {
			row.History = []Change{{State: row.State}}
		}
		t.version = max(t.version, row.Version)
		t.rows[row.ID] = &row
	}
	return t, notes
}

// Version counts changes; it only grows.
func (t *Table) Version() int64 { return t.version }

// Get is the instance's present row, or nil. The caller must not change it.
func (t *Table) Get(id string) *Instance { return t.rows[id] }

// All are copies of all rows, sorted by ID.
func (t *Table) All() []Instance {
	out := make([]Instance, 0, len(t.rows))
	for _, row := range t.rows {
		out = append(out, row.clone())
	}
	slices.SortFunc(out, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (i *Instance) clone() Instance {
	c := *i
	c.History = slices.Clone(i.History)
	return c
}

// ids are the IDs of the rows that keep accepts, sorted.
func (t *Table) ids(keep func(*Instance) bool) []string {
	var out []string
	for id, row := range t.rows {
		if keep(row) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Add makes a new row in the state QUEUED, or ALLOCATED when it names a
// machine that exists. It is an error if the ID is taken.
func (t *Table) Add(now time.Time, row Instance, reason string) error {
	if t.rows[row.ID] != nil || row.ID == "" {
		return fmt.Errorf("instance %q: the id is taken or empty", row.ID)
	}
	row.State = Queued
	if row.CloudID != "" {
		row.State = Allocated
	}
	row.Reason = reason
	row.History = []Change{{State: row.State, TimeMS: now.UnixMilli(), Reason: reason}}
	t.rows[row.ID] = &row
	t.touch(&row)
	return nil
}

// Move puts the instance into the next state. It is an error, and nothing
// changes, if the edge is not allowed.
func (t *Table) Move(now time.Time, id string, next State, reason string) error {
	row := t.rows[id]
	if row == nil {
		return fmt.Errorf("instance %s: not in the table, so it cannot become %s", id, next)
	}
	if !row.State.CanBecome(next) {
		return fmt.Errorf("instance %s: cannot go from %s to %s (%s)", id, row.State, next, reason)
	}
	row.State, row.Reason = next, reason
	row.History = append(row.History, Change{State: next, TimeMS: now.UnixMilli(), Reason: reason})
	if len(row.History) > maxHistory {
		row.History = slices.Delete(row.History, 1, 2)
	}
	t.touch(row)
	return nil
}

// Edit changes fields other than the state.
func (t *Table) Edit(id string, change func(*Instance)) {
	if row := t.rows[id]; row != nil {
		state := row.State
		change(row)
		row.State = state
		t.touch(row)
	}
}

// Expire drops terminal rows that ended at least keep ago.
func (t *Table) Expire(now time.Time, keep time.Duration) {
	for _, id := range t.ids(func(i *Instance) bool { return i.State.Terminal() && now.Sub(i.Since()) >= keep }) {
		delete(t.rows, id)
		delete(t.changed, id)
		t.removed = append(t.removed, id)
		t.version++
	}
}

// Dirty gives copies of the rows changed and the IDs removed since the last
// Clean: what the caller has to store.
func (t *Table) Dirty() (changed []Instance, removed []string) {
	for id := range t.changed {
		changed = append(changed, t.rows[id].clone())
	}
	slices.SortFunc(changed, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return changed, slices.Clone(t.removed)
}

// Clean forgets what was changed: the caller has stored it.
func (t *Table) Clean() { t.changed, t.removed = map[string]bool{}, nil }

func (t *Table) touch(row *Instance) {
	t.version++
	row.Version = t.version
	t.changed[row.ID] = true
}
