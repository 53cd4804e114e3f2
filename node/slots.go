package node

import (
	"slices"
	"time"

	"ray/internal/spec"
	"ray/node/owner"
)

// slot is a place that the head has granted for a class on another node. It is
// used again for further tasks of the class, without asking, while it is fresh.
type slot struct {
	node     spec.NodeID
	granted  int // tasks that may run there at once
	window   int // tasks that may be on their way or there
	inflight int
	last     time.Time
}

// fill sends the tasks of a row to the slots that it has.
func (d *daemon) fill(row *awayRow) {
	now := time.Now()
	for _, s := range row.slots {
		for s.inflight < s.window && len(row.tasks) > 0 && now.Sub(s.last) < slotKeeps {
			r := row.tasks[0]
			row.tasks = slices.Delete(row.tasks, 0, 1)
			if r.over || r.task.State == owner.TaskDone {
				continue
			}
			d.sendToSlot(row, s, r, now)
		}
	}
}

func (d *daemon) sendToSlot(row *awayRow, s *slot, r *run, now time.Time) {
	s.inflight++
	s.last = now
	r.row, r.slot, r.sent = row, s, now
	d.forward(r.task, s.node, 0)
}

// slotFor notes a grant.
func (row *awayRow) slotFor(node spec.NodeID, count int) *slot {
	for _, s := range row.slots {
		if s.node == node {
			s.granted = max(s.granted, count, min(s.inflight+count, s.granted+count))
			s.window = max(s.window, s.granted)
			return s
		}
	}
	s := &slot{node: node, granted: count, window: count}
	row.slots = append(row.slots, s)
	return s
}

// slotDone: an attempt that was sent to a slot has come back.
func (d *daemon) slotDone(t *owner.Task, refused bool) {
	r, _ := t.Run.(*run)
	if r == nil || r.slot == nil {
		return
	}
	row, s := r.row, r.slot
	r.row, r.slot = nil, nil
	each := time.Since(r.sent) / time.Duration(max(1, s.inflight))
	s.inflight--
	s.last = time.Now()
	switch {
	case refused:
		s.window, s.granted = 0, 0
	case each < slotShort:
		s.window = min(slotMax, 2*s.window)
	case each > slotLonger:
		s.window = s.granted
	}
	if s.window == 0 {
		row.slots = slices.DeleteFunc(row.slots, func(x *slot) bool { return x == s })
	}
	d.fill(row)
}
