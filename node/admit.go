package node

import (
	"slices"

	"ray/internal/spec"
	"ray/node/owner"
	"ray/node/pool"
)

// Arguments are brought into memory, and kept there, while their task is still
// queued. If every queued task did that, together they would fill the store: each
// with a part of its arguments, none with all, and no room for results. So tasks
// are admitted, in order, while the arguments of those admitted take at most half
// of the store; beyond that a class has one for each of its workers and one more,
// so that nothing ever waits for itself. The others wait here, without holding
// anything; they count as queued, and may leave for other nodes.
// So it is with the calls of an actor, which has one for each that it runs at a
// time and one more. Actors with concurrency groups are left out: a call that
// waits there may be what one of another group waits for.

// admission is the state of that. The daemon's lock guards it.
type admission struct {
	budget uint64
	bytes  uint64 // of what admitted tasks use
	uses   map[spec.ObjectID]argUse
	homes  []*home // those in which tasks wait
	due    bool    // something has changed for those that wait
}

// home is where tasks are admitted in order: a class of the pool, or an actor.
type home struct {
	late   []*run     // those that wait for room for their arguments
	open   int        // those with large arguments that do not any more and have not ended
	beyond func() int // how many more than one may be open, whatever room there is
}

func homeOf(r *run) *home {
	if r.spec.Kind == owner.KindCall {
		return &r.actor.home
	}
	return &r.Task.Class.Data.(*class).home
}

// admits tells whether the calls of an actor wait to be admitted. One that is
// repeated does not: an earlier one may wait for what it makes.
func (h *hosted) admits(r *run) bool {
	return h.tmpl != nil && h.tmpl.Actor != nil && len(h.tmpl.Actor.Groups) == 0 && r.attempt == 0
}

// argUse is an object that admitted tasks have as an argument.
type argUse struct {
	tasks int
	size  uint64
}

func newAdmission(store uint64) admission {
	return admission{budget: store / 2, uses: map[spec.ObjectID]argUse{}}
}

// stir has those that wait looked at, if there are any.
func (a *admission) stir() { a.due = a.due || len(a.homes) > 0 }

// queueRun brings the arguments of a task here now, or lets it wait for its turn.
func (d *daemon) queueRun(r *run) {
	size := d.newBytes(r)
	if size == 0 || r.spec.Kind == owner.KindCall && !r.actor.admits(r) {
		d.bringArgs(r)
		return
	}
	home := homeOf(r)
	if len(home.late) == 0 && d.admissible(home, size) {
		d.bringArgs(r)
		return
	}
	if len(home.late) == 0 {
		d.adm.homes = append(d.adm.homes, home)
	}
	r.late, r.missing = true, 1
	home.late = append(home.late, r)
	d.wakeTicker()
}

// newBytes is what the arguments of a task take that no admitted one uses.
func (d *daemon) newBytes(r *run) (size uint64) {
	for _, dep := range r.spec.Deps {
		if o := d.own.Object(dep.ID); o != nil && o.Where != owner.Inline && d.adm.uses[dep.ID].tasks == 0 {
			size += o.Size
		}
	}
	return size
}

func (d *daemon) admissible(home *home, size uint64) bool {
	return d.adm.bytes+size <= d.adm.budget || home.open <= home.beyond()
}

func (d *daemon) bringArgs(r *run) {
	for _, dep := range r.spec.Deps {
		o := d.own.Object(dep.ID)
		if o == nil || o.Where == owner.Inline {
			continue
		}
		u := d.adm.uses[dep.ID]
		if u.tasks == 0 {
			u.size = o.Size
			d.adm.bytes += o.Size
		}
		u.tasks++
		d.adm.uses[dep.ID] = u
		r.counted = append(r.counted, dep.ID)
	}
	if len(r.counted) > 0 {
		homeOf(r).open++
	}
	r.missing, r.failed = 1, nil
	for _, dep := range r.spec.Deps {
		d.needArg(r, dep)
	}
	if r.missing--; r.missing == 0 {
		d.argsHere(r)
	}
}

// unhold lets go of the arguments that are in memory for a run, or of its turn.
func (d *daemon) unhold(r *run) {
	r.late = false
	for _, id := range r.held {
		d.store.Unpin(0, id, 1)
	}
	r.held = nil
	if len(r.counted) == 0 {
		return
	}
	for _, id := range r.counted {
		u := d.adm.uses[id]
		if u.tasks--; u.tasks > 0 {
			d.adm.uses[id] = u
			continue
		}
		delete(d.adm.uses, id)
		d.adm.bytes -= u.size
	}
	r.counted = nil
	homeOf(r).open--
	d.adm.stir()
}

// admitLate admits those whose turn has come.
func (d *daemon) admitLate() {
	d.adm.due = false
	d.adm.homes = slices.DeleteFunc(d.adm.homes, func(home *home) bool {
		for len(home.late) > 0 {
			r := home.late[0]
			if r.late && !d.admissible(home, d.newBytes(r)) {
				return false
			}
			home.late[0] = nil
			home.late = home.late[1:]
			if r.late {
				r.late = false
				d.bringArgs(r)
			}
		}
		home.late = nil
		return true
	})
}

// lateOf are the tasks of a class that wait for their turn.
func lateOf(c *pool.Class) []*run {
	home := c.Data.(*class)
	home.late = deleteFunc(home.late, func(r *run) bool { return !r.late })
	return home.late
}

// queued counts the tasks of a class that have no worker, and gives the first.
func (d *daemon) queued(c *pool.Class) (n int, first *run) {
	late := lateOf(c)
	if t := c.First(); t != nil {
		first = t.Data.(*run)
	} else if len(late) > 0 {
		first = late[0]
	}
	return c.Queued() + len(late), first
}

// takeBack takes up to n queued tasks of a class out, the last ones first.
func (d *daemon) takeBack(c *pool.Class, n int, ok func(*run) bool) (out []*run) {
	late := lateOf(c)
	for i := len(late) - 1; i >= 0 && len(out) < n; i-- {
		if ok(late[i]) {
			late[i].late, late[i].missing = false, 0
			out = append(out, late[i])
		}
	}
	slices.Reverse(out)
	for _, t := range d.pool.TakeBack(c, n-len(out), func(t *pool.Task) bool { return ok(t.Data.(*run)) }) {
		out = append(out, t.Data.(*run))
	}
	return out
}
