package node

import (
	"maps"
	"slices"
)

// queuedCalls are the calls that have been sent to the processes of actors here
// and wait there for earlier ones. Processes do not tell when they begin a
// call; they begin them in the order in which they were sent, as many at a time
// as the limit of the call's concurrency group says.
func (d *daemon) queuedCalls() map[*run]bool {
	queued := map[*run]bool{}
	for _, h := range d.hosted {
		if h.tmpl == nil || h.tmpl.Actor == nil || len(h.calls) < 2 {
			continue
		}
		running := map[string]int{}
		for _, seq := range slices.Sorted(maps.Keys(h.calls)) {
			group := h.calls[seq].spec.Tmpl.ConcurrencyGroup
			if running[group]++; running[group] > h.limit(group) {
				queued[h.calls[seq]] = true
			}
		}
	}
	return queued
}

// limit is how many calls of a concurrency group run at a time.
func (h *hosted) limit(group string) int {
	if group == "" {
		return max(1, h.tmpl.Actor.MaxConcurrency)
	}
	return max(1, h.tmpl.Actor.Groups[group])
}
