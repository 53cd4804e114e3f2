package head

import (
	"maps"
	"slices"
	"time"

	"ray/internal/scheduler"
	"ray/internal/spec"
	"ray/internal/wire"
)

// grantNote is what one node gets at the end of a round.
type grantNote struct {
	peer   *wire.Peer
	grants wire.Grants
}

// placeRows gives nodes places for their tasks elsewhere, beginning with
// another node each time. Needs h.mu.
func (h *Head) placeRows(c *scheduler.Cluster, now time.Time) (notes []grantNote) {
	ids := slices.SortedFunc(maps.Keys(h.askers), func(a, b spec.NodeID) int { return slices.Compare(a[:], b[:]) })
	if len(ids) > 1 {
		first := h.random.IntN(len(ids))
		ids = append(ids[first:], ids[:first]...)
	}
	for _, id := range ids {
		s := h.soft[id]
		if s == nil || h.links[id] == nil {
			continue
		}
		var out wire.Grants
		for i := range s.rows {
			h.placeRow(c, id, s, &s.rows[i], now, &out)
		}
		h.setRows(id, s, slices.DeleteFunc(s.rows, func(r wire.PlaceRow) bool { return r.Count <= 0 }))
		if len(out.Grants)+len(out.Reasons) > 0 {
			notes = append(notes, grantNote{h.links[id].peer, out})
		}
	}
	return notes
}

// setRows keeps what a node wants places for. Needs h.mu.
func (h *Head) setRows(id spec.NodeID, s *soft, rows []wire.PlaceRow) {
	s.rows = rows
	if len(rows) > 0 {
		h.askers[id] = true
	} else {
		delete(h.askers, id)
	}
}

func (h *Head) placeRow(c *scheduler.Cluster, from spec.NodeID, s *soft, row *wire.PlaceRow, now time.Time, out *wire.Grants) {
	mean := meanOf(&s.beat, row.Key)
	answer := c.Place(scheduler.Row{
		Resources: row.Resources, LabelSelector: row.LabelSelector, Fallback: row.Fallback, Strategy: row.Strategy,
		Count: row.Count, Python: row.Python, Inputs: inputs(row.Inputs), From: from, Infeasible: row.Infeasible, Spares: row.Spares,
		LocalWait: time.Duration(row.LocalWaitMicros) * time.Microsecond, Mean: mean,
	}, h.random)
	for _, g := range answer.Grants {
		out.Grants = append(out.Grants, wire.Grant{Key: row.Key, Node: g.Node, Count: g.Count, ValidMS: grantValid.Milliseconds()})
		h.promise(g.Node, scheduler.Promise{Need: row.Resources, Times: g.Count, Mean: mean, Tasks: true}, now)
		row.Count -= g.Count
	}
	if row.Spares && row.Count > 0 { // no promise: the sender tells of what it begins itself
		out.Grants = append(out.Grants, wire.Grant{Key: row.Key, Node: from, Count: row.Count, ValidMS: grantValid.Milliseconds()})
		row.Count = 0
	}
	reason := wire.Reason{Key: row.Key, Error: answer.Error}
	if answer.Error == nil && row.Count > 0 {
		reason = h.explain(answer, spec.Demand{Resources: row.Resources, LabelSelector: row.LabelSelector})
		reason.Key = row.Key
	}
	if row.Count <= 0 {
		return
	}
	if old, sent := s.reasons[row.Key]; !sent || old.Text != reason.Text || old.Infeasible != reason.Infeasible || (old.Error == nil) != (reason.Error == nil) {
		s.reasons[row.Key] = reason
		out.Reasons = append(out.Reasons, reason)
	}
	if answer.Error != nil {
		row.Count = 0
	}
}

// meanOf is the measured run time of a row's class: the node names its rows as
// its queues, behind one letter.
func meanOf(b *wire.Heartbeat, key string) time.Duration {
	for _, q := range b.Queue {
		if q.Key == key || len(key) > 1 && q.Key == key[1:] {
			return time.Duration(q.MeanMicros) * time.Microsecond
		}
	}
	return 0
}

func inputs(in []wire.Input) []scheduler.Input {
	out := make([]scheduler.Input, len(in))
	for i, x := range in {
		out[i] = scheduler.Input{Size: x.Size, Nodes: x.Nodes}
	}
	return out
}
