package head

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"ray/autoscaler"
	"ray/internal/gcs"
)

// Load implements autoscaler.InstanceStore.
func (s *autoscaling) Load(context.Context) (autoscaler.Saved, error) {
	s.h.mu.Lock()
	text := s.h.tables.Machines()
	s.h.mu.Unlock()
	return s.take(text)
}

// take reads a stored table.
func (s *autoscaling) take(text []byte) (saved autoscaler.Saved, err error) {
	switch {
	case len(text) == 0:
	case text[0] == '[': // an earlier version kept the instances alone
		err = json.Unmarshal(text, &saved.Instances)
	default:
		err = json.Unmarshal(text, &saved)
	}
	if err != nil {
		return saved, fmt.Errorf("the stored instance table cannot be read: %w", err)
	}
	for _, r := range saved.Instances {
		s.rows[r.ID] = r
	}
	s.memory = saved.Memory
	return saved, nil
}

// Save implements autoscaler.InstanceStore.
func (s *autoscaling) Save(_ context.Context, c autoscaler.Changes) error {
	text, err := s.apply(c)
	if err != nil {
		return err
	}
	return s.h.change(func(t *gcs.Tables) (gcs.Change, error) { return t.SetMachines(text), nil })
}

// apply takes changes over and gives the whole table to store.
func (s *autoscaling) apply(c autoscaler.Changes) ([]byte, error) {
	for _, r := range c.Instances {
		s.rows[r.ID] = r
	}
	for _, id := range c.Removed {
		delete(s.rows, id)
	}
	if c.Memory != nil {
		s.memory = *c.Memory
	}
	rows := make([]autoscaler.Instance, 0, len(s.rows))
	for _, id := range slices.Sorted(maps.Keys(s.rows)) {
		rows = append(rows, s.rows[id])
	}
	return json.Marshal(autoscaler.Saved{Instances: rows, Memory: s.memory})
}
