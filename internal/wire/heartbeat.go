package wire

import (
	"maps"
	"slices"

	"ray/internal/spec"
)

// Heartbeat is a node's state. HeartbeatDelta carries it.
type Heartbeat struct {
	Total     spec.Resources // with group resources
	Available spec.Resources
	IdleMS    int64
	Activity  []string
	Queue     []QueueRow
	// GroupReserved and GroupUsed sum this node's bundles.
	GroupReserved spec.Resources
	GroupUsed     spec.Resources
	Draining      bool
	Arrivals      uint64 // tasks that came here by grants and actors that were placed here, since the daemon began
	// Bandwidth has bytes per second from other nodes to this one, as measured.
	Bandwidth map[spec.NodeID]float64
	// Heir owns now what a draining node owned.
	Heir spec.NodeID
}

// HeartbeatDelta is what changed of a node's state since its last heartbeat,
// the whole of it if Full.
type HeartbeatDelta struct {
	Seq      uint64       `json:"seq"` // one more than the last one's
	Full     bool         `json:"full,omitempty"`
	IdleMS   int64        `json:"idle_ms"`
	Draining bool         `json:"draining,omitempty"`
	Heir     *spec.NodeID `json:"heir,omitempty"`
	Arrivals uint64       `json:"arrivals,omitempty"`

	Total         *ResourcesDelta `json:"total,omitempty"`
	Available     *ResourcesDelta `json:"available,omitempty"`
	GroupReserved *ResourcesDelta `json:"group_reserved,omitempty"`
	GroupUsed     *ResourcesDelta `json:"group_used,omitempty"`
	Activity      *[]string       `json:"activity,omitempty"`
	Queue         []QueueRow      `json:"queue,omitempty"`      // rows that changed
	QueueGone     []string        `json:"queue_gone,omitempty"` // keys of those that are gone

	Bandwidth map[spec.NodeID]float64 `json:"bandwidth,omitempty"` // of the nodes measured anew
}

// HeartbeatReply tells a node that the head does not know it any more, or has
// missed a heartbeat.
type HeartbeatReply struct {
	Unknown bool `json:"unknown,omitempty"` // register again, as a new node
	Resend  bool `json:"resend,omitempty"`  // send a full one next
}

// ResourcesDelta changes amounts.
type ResourcesDelta struct {
	Set  spec.Resources `json:"set,omitempty"`
	Gone []string       `json:"gone,omitempty"`
}

func resourcesDelta(from, to spec.Resources) *ResourcesDelta {
	var d ResourcesDelta
	for k, v := range to {
		if old, ok := from[k]; !ok || old != v {
			if d.Set == nil {
				d.Set = spec.Resources{}
			}
			d.Set[k] = v
		}
	}
	for k := range from {
		if _, ok := to[k]; !ok {
			d.Gone = append(d.Gone, k)
		}
	}
	if len(d.Set)+len(d.Gone) == 0 {
		return nil
	}
	slices.Sort(d.Gone)
	return &d
}

// on gives a new map, or old itself if nothing changes.
func (d *ResourcesDelta) on(old spec.Resources) spec.Resources {
	if d == nil {
		return old
	}
	out := old.Clone()
	if out == nil {
		out = spec.Resources{}
	}
	maps.Copy(out, d.Set)
	for _, k := range d.Gone {
		delete(out, k)
	}
	return out
}

// Since is what changed from old to h; all of h if old is nil.
func (h *Heartbeat) Since(old *Heartbeat, seq uint64) HeartbeatDelta {
	full := old == nil
	if full {
		old = &Heartbeat{}
	}
	d := HeartbeatDelta{
		Seq: seq, Full: full, IdleMS: h.IdleMS, Draining: h.Draining, Arrivals: h.Arrivals,
		Total: resourcesDelta(old.Total, h.Total), Available: resourcesDelta(old.Available, h.Available),
		GroupReserved: resourcesDelta(old.GroupReserved, h.GroupReserved), GroupUsed: resourcesDelta(old.GroupUsed, h.GroupUsed),
	}
	if old.Heir != h.Heir {
		d.Heir = &h.Heir
	}
	if !slices.Equal(old.Activity, h.Activity) {
		activity := append([]string{}, h.Activity...) // null would mean: as before
		d.Activity = &activity
	}
	was := make(map[string]QueueRow, len(old.Queue))
	for _, q := range old.Queue {
		was[q.Key] = q
	}
	for _, q := range h.Queue {
		if w, ok := was[q.Key]; !ok || w.Queued != q.Queued || w.Running != q.Running || w.MeanMicros != q.MeanMicros {
			d.Queue = append(d.Queue, q)
		}
		delete(was, q.Key)
	}
	d.QueueGone = slices.Sorted(maps.Keys(was))
	for id, b := range h.Bandwidth {
		if old.Bandwidth[id] != b {
			if d.Bandwidth == nil {
				d.Bandwidth = map[spec.NodeID]float64{}
			}
			d.Bandwidth[id] = b
		}
	}
	return d
}

// maxBandwidths bounds how many senders are remembered of one node.
const maxBandwidths = 64

// On applies the change. The result shares with old what is the same, and
// neither is changed afterwards.
func (d *HeartbeatDelta) On(old Heartbeat) Heartbeat {
	if d.Full {
		old = Heartbeat{}
	}
	h := old
	h.IdleMS, h.Draining, h.Arrivals = d.IdleMS, d.Draining, d.Arrivals
	if d.Heir != nil {
		h.Heir = *d.Heir
	}
	h.Total, h.Available = d.Total.on(old.Total), d.Available.on(old.Available)
	h.GroupReserved, h.GroupUsed = d.GroupReserved.on(old.GroupReserved), d.GroupUsed.on(old.GroupUsed)
	if d.Activity != nil {
		h.Activity = *d.Activity
	}
	if len(d.Queue)+len(d.QueueGone) > 0 {
		h.Queue = slices.DeleteFunc(slices.Clone(old.Queue), func(q QueueRow) bool {
			return slices.Contains(d.QueueGone, q.Key) || slices.ContainsFunc(d.Queue, func(n QueueRow) bool { return n.Key == q.Key })
		})
		h.Queue = append(h.Queue, d.Queue...)
	}
	if len(d.Bandwidth) > 0 {
		h.Bandwidth = maps.Clone(old.Bandwidth)
		if h.Bandwidth == nil || len(h.Bandwidth) > maxBandwidths {
			h.Bandwidth = map[spec.NodeID]float64{}
		}
		maps.Copy(h.Bandwidth, d.Bandwidth)
	}
	return h
}
