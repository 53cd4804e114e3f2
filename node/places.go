package node

import (
	"slices"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/pool"
)

// awayRow is a scheduling class of which tasks want a place elsewhere.
type awayRow struct {
	key    string
	class  *class
	tmpl   *owner.Template
	tasks  []*run
	since  time.Time
	asked  time.Time // when the first of the tasks came, or the head last answered
	warned bool
	reason string
	slots  []*slot
}

// A slot grows beyond what was granted only while tasks are short.
const (
	slotKeeps  = time.Second
	slotMax    = 256
	slotShort  = time.Millisecond
	slotLonger = 5 * time.Millisecond
)

// askPlace puts a task into its row; the next tick tells the head.
func (d *daemon) askPlace(c *class, r *run) {
	if !c.pinned.IsZero() && c.pinned != d.self && d.sendPinned(c, r) {
		return
	}
	row := d.away[c.row]
	if row == nil {
		row = &awayRow{key: c.row, class: c, tmpl: r.spec.Tmpl, since: time.Now()}
		d.away[c.row] = row
	}
	if len(row.tasks) == 0 {
		row.asked = time.Now()
	}
	row.tasks = append(row.tasks, r)
	r.over = false
	if len(row.slots) > 0 {
		d.fill(row)
	}
	d.placesDue = d.placesDue || len(row.tasks) > 0
	d.wakeTicker()
}

// sendPinned forwards a task with node affinity straight to its node. False:
// the head has to be asked.
func (d *daemon) sendPinned(c *class, r *run) bool {
	n, known := d.nodes[c.pinned]
	st := &r.spec.Tmpl.Strategy
	if known && n.State == spec.NodeAlive && n.Total.Fits(c.need) && !st.SpillOnUnavailable && !st.FailOnUnavailable {
		d.forward(r.task, c.pinned, 0)
		return true
	}
	if !st.Soft && known && n.State == spec.NodeDead {
		d.own.FailTask(r.task, unschedulable(r.spec.Tmpl.Name, boundTo+": node "+c.pinned.String()+" is dead"))
		return true
	}
	return false
}

func unschedulable(name, why string) *spec.ErrorInfo {
	return &spec.ErrorInfo{Type: "TaskUnschedulableError", Message: "The task " + name + " cannot be scheduled: " + why + "."}
}

// places are the rows for the head: what cannot run here, and what would wait
// here for long.
func (d *daemon) places() wire.Places {
	d.giveBack()
	d.spareNoLonger(time.Now())
	rows := []wire.PlaceRow{}
	for key, row := range d.away {
		row.tasks = deleteFunc(row.tasks, func(r *run) bool { return r.over || r.task == nil || r.task.State == owner.TaskDone })
		row.slots = slices.DeleteFunc(row.slots, func(s *slot) bool { return s.inflight == 0 && time.Since(s.last) > slotKeeps })
		if len(row.tasks) == 0 {
			if len(row.slots) == 0 {
				delete(d.away, key)
			}
			continue
		}
		t := row.tmpl
		first := row.tasks[0]
		infeasible := row.class.foreign || d.drain != nil || !d.pool.Feasible(row.class.pool)
		rows = append(rows, wire.PlaceRow{Key: "a" + key, Resources: row.class.need, LabelSelector: t.LabelSelector, Fallback: t.Fallback,
			Strategy: t.Strategy, Count: len(row.tasks), Name: t.Name, JobID: first.spec.ID.JobID(), Python: d.pythonOf(first.spec.ID.JobID()), Inputs: d.inputs(first),
			Infeasible: infeasible, Spares: row.class.plain && !infeasible})
	}
	d.pool.Classes(func(c *pool.Class) {
		n, r := d.queued(c)
		n -= d.keepQueued
		if n <= 0 || c.Actor {
			return
		}
		info := c.Data.(*class)
		if info.noSpill {
			return
		}
		if !spillable(r) {
			return
		}
		rows = append(rows, wire.PlaceRow{Key: "q" + c.Name(), Resources: c.Need, LabelSelector: r.spec.Tmpl.LabelSelector, Fallback: r.spec.Tmpl.Fallback, Strategy: r.spec.Tmpl.Strategy, Count: n, Name: r.spec.Tmpl.Name,
			JobID: r.spec.ID.JobID(), Python: d.pythonOf(r.spec.ID.JobID()), Inputs: d.inputs(r), LocalWaitMicros: max(1, d.pool.LocalWait(c, len(lateOf(c)), d.now()))})
	})
	return wire.Places{Rows: rows}
}

// pythonOf is the version that a job needs. The cluster of one driver has its
// Python everywhere.
func (d *daemon) pythonOf(id spec.JobID) string {
	if j := d.jobs[id]; j != nil && d.cfg.OwnerPID == 0 {
		return j.info.Python
	}
	return ""
}

// inputs are the large arguments of a task, the largest first.
func (d *daemon) inputs(r *run) (out []wire.Input) {
	for _, dep := range r.spec.Deps {
		o := d.own.Object(dep.ID)
		if o == nil || o.Size < uint64(d.inlineLimit) {
			continue
		}
		nodes := slices.Clone(o.Locs)
		if o.Where == owner.Arena {
			nodes = append(nodes, d.self)
		}
		out = append(out, wire.Input{Size: int64(o.Size), Nodes: nodes})
	}
	slices.SortFunc(out, func(a, b wire.Input) int { return int(b.Size - a.Size) })
	return out[:min(len(out), 8)]
}

// grants sends tasks where the head lets them go.
func (d *daemon) grants(g wire.Grants) {
	now := time.Now()
	if len(g.Grants) > 0 {
		d.placesText = nil // the same may be asked again
	}
	for _, grant := range g.Grants {
		d.answered(grant, now)
		var row *awayRow
		if len(grant.Key) > 1 && grant.Key[0] == 'a' && grant.Node != d.self {
			row = d.away[grant.Key[1:]]
		}
		if row != nil && row.tmpl.Strategy.Kind != spec.StrategySpread && len(row.tasks) > 0 {
			s := row.slotFor(grant.Node, grant.Count)
			s.last = now
			for _, r := range d.granted(grant) {
				r.granted = true
				d.sendToSlot(row, s, r, now)
			}
			d.fill(row)
			continue
		}
		for _, r := range d.granted(grant) {
			if grant.Node == d.self {
				d.runHere(r)
			} else {
				r.granted = true
				d.forward(r.task, grant.Node, 0)
			}
		}
	}
	for _, why := range g.Reasons {
		d.reason(why)
	}
	d.placesDue = true
}

// spillable tells whether a queued task may run elsewhere: it is owned here,
// and nothing binds it to this node.
func spillable(r *run) bool {
	c := r.spec.Tmpl.Class.(*class)
	return r.task != nil && !c.noSpill && len(r.spec.Tmpl.LabelSelector) == 0
}

// granted takes the tasks that a grant is for out of their queue.
func (d *daemon) granted(g wire.Grant) (out []*run) {
	if len(g.Key) < 2 {
		return nil
	}
	if g.Key[0] == 'a' {
		row := d.away[g.Key[1:]]
		if row == nil {
			return nil
		}
		row.tasks = deleteFunc(row.tasks, func(r *run) bool { return r.over || r.task.State == owner.TaskDone })
		n := min(g.Count, len(row.tasks))
		out = append(out, row.tasks[:n]...)
		row.tasks = slices.Delete(row.tasks, 0, n)
		return out
	}
	if g.Node == d.self {
		return nil
	}
	d.pool.Classes(func(c *pool.Class) {
		if c.Name() != g.Key[1:] {
			return
		}
		for _, r := range d.takeBack(c, g.Count, spillable) {
			d.unhold(r)
			delete(d.runs, r.spec.ID)
			out = append(out, r)
		}
	})
	return out
}

// reason keeps why a row waits; an error ends its tasks, and what cannot run
// anywhere is told to the driver.
func (d *daemon) reason(why wire.Reason) {
	if len(why.Key) < 2 || why.Key[0] != 'a' {
		return
	}
	row := d.away[why.Key[1:]]
	if row == nil {
		return
	}
	row.reason = why.Text
	if why.Error != nil {
		tasks := row.tasks
		row.tasks = nil
		for _, r := range tasks {
			e := *why.Error
			d.own.FailTask(r.task, &e)
		}
		return
	}
	if why.Infeasible && !row.warned && len(row.tasks) > 0 {
		row.warned = true
		text := "The task " + row.tasks[0].spec.Tmpl.Name + " needs " + row.class.need.String() + " and no node can run it"
		if why.Text != "" {
			text += ": " + why.Text
		}
		d.warn(row.tasks[0].spec.ID.JobID(), text)
	}
}

// unplace takes a task out of the rows that wait for a place.
func (d *daemon) unplace(t *owner.Task) bool {
	found := false
	for _, row := range d.away {
		row.tasks = deleteFunc(row.tasks, func(r *run) bool {
			if r.task == t {
				found = true
				return true
			}
			return false
		})
	}
	return found
}
