package simtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Machines counts living machines by type, as text.
func (w *World) Machines() string {
	counts := map[string]int{}
	for _, m := range w.alive() {
		counts[m.NodeType]++
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
	}
	if n := len(w.resting); n > 0 {
		parts = append(parts, fmt.Sprintf("%d stopped", n))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// Table is the instance table as text.
func (w *World) Table() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(w.rows)) {
		if row := w.rows[id]; !row.State.Terminal() {
			fmt.Fprintf(&b, "%s %s %s (%s)\n", row.ID, row.State, row.CloudID, row.Reason)
		}
	}
	return b.String()
}

// Waiting counts tasks that have no place.
func (w *World) Waiting() int {
	n := 0
	for _, t := range w.tasks {
		if t.node == "" {
			n++
		}
	}
	return n
}

// Backoffs is what the autoscaler leaves alone at present, as text.
func (w *World) Backoffs() string {
	var b strings.Builder
	for _, x := range w.manager.Report().Backoffs {
		fmt.Fprintf(&b, "%s for %s: %s\n", x.What, time.UnixMilli(x.UntilMS).Sub(w.now).Round(time.Second), x.Reason)
	}
	return b.String()
}

// head tells whether the head's machine is gone.
func (w *World) head() string {
	if w.Ended {
		return "the head has ended\n"
	}
	return ""
}
