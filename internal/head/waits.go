package head

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// warnAfter is how long an actor or placement group waits for a place before
// the driver of its job is told why.
const warnAfter = 5 * time.Second

// collectAfter is how long an actor waits before Python's garbage is collected
// for its sake, and collectEvery how often that is done while one waits.
const (
	collectAfter = 2 * time.Second
	collectEvery = 10 * time.Second
)

// waiting is what drivers have been told of: a line for each job and reason
// until nothing waits for it any more.
type waiting struct {
	job    spec.JobID
	what   string // "actor A", "placement group"
	needs  string
	reason string
}

type waitCount struct {
	count int
	since int64
	id    string
}

// warnWaiting tells drivers of actors and groups that wait. It needs h.mu. Notes go out by the link's own queue.
func (h *Head) warnWaiting(now time.Time, actors []gcs.Actor) {
	late := now.Add(-warnAfter).UnixMilli()
	found := map[waiting]waitCount{}
	add := func(w waiting, since int64, id string) {
		c := found[w]
		if c.count++; c.count == 1 || since < c.since {
			c.since, c.id = since, id
		}
		found[w] = c
	}
	for _, a := range actors {
		if a.CreatedMS <= late && a.Info.State != spec.ActorRestarting && a.Info.Reason != "" {
			add(waiting{a.Info.JobID, "actor " + cmp.Or(a.Info.Options.Name, a.Info.Options.ClassName), a.Create.Placement.String(), a.Info.Reason}, a.CreatedMS, a.Info.ID.String())
		}
	}
	for _, g := range h.tables.WaitingGroups() {
		if g.Info.CreatedMS <= late && g.Info.State == spec.PGPending && g.Info.Reason != "" {
			add(waiting{g.Info.JobID, "placement group " + g.Info.Name, fmt.Sprintf("%d bundles (%s)", len(g.Info.Bundles), g.Info.Strategy), g.Info.Reason}, g.Info.CreatedMS, g.Info.ID.String())
		}
	}
	maps.DeleteFunc(h.warned, func(w waiting, _ bool) bool { return found[w].count == 0 })
	for w, c := range found {
		if h.warned[w] {
			continue
		}
		h.warned[w] = true
		h.tellDriver(w, c, now)
	}
}

// collectForActors has garbage collected while actors wait for resources: the
// handle of an actor that nobody needs may lie in a cycle. Needs h.mu.
func (h *Head) collectForActors(now time.Time, actors []gcs.Actor) {
	late := now.Add(-collectAfter).UnixMilli()
	wait := slices.ContainsFunc(actors, func(a gcs.Actor) bool { return a.CreatedMS <= late && a.Info.Reason != "" })
	switch {
	case !wait:
		h.collected = time.Time{}
	case h.collected.IsZero() || now.Sub(h.collected) >= collectEvery:
		h.collected = now
		h.work.Go(func() { h.broadcast(wire.MethodCollect, struct{}{}) })
	}
}

// tellDriver needs h.mu.
func (h *Head) tellDriver(w waiting, c waitCount, now time.Time) {
	job, ok := h.tables.Job(w.job.String())
	if !ok || h.links[job.NodeID] == nil {
		return
	}
	text := "The " + w.what + " has"
	if c.count > 1 {
		text = fmt.Sprintf("%d of the %s have", c.count, w.what)
	}
	text += fmt.Sprintf(" been waiting for %s for %s: %s. See `ray why %s`.", w.needs, now.Sub(time.UnixMilli(c.since)).Round(time.Second), w.reason, c.id)
	_ = h.links[job.NodeID].peer.Notify(wire.MethodLogLines, wire.LogLines{JobID: w.job, Kind: "raylet", Lines: []string{text}}, nil) // a lost session tells nobody
}
