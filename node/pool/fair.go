package pool

import (
	"cmp"
	"slices"

	"ray/internal/spec"
)

// Fairness. Times are microseconds.
const (
	// turn is how long a lease may be fed with further tasks while other
	// classes wait.
	turn = 10_000
	// starves is how long tasks of a class wait, and none of them begins, before
	// room is kept for the first.
	starves = 1_000_000
	// keepAtMost bounds that, and restAfter is how long the class then waits like
	// the others: what runs may not end for long.
	keepAtMost = 10_000_000
	restAfter  = 30_000_000
)

// share starts what can start of all classes, a task at a time: next is always
// one of the job that has least.
func (p *Pool) share(now int64) {
	if p.closed {
		return
	}
	p.keepRoom(now)
	if len(p.waiting) == 1 {
		p.dispatch(p.waiting[0], now)
		return
	}
	if p.oneJob() {
		// A job that has a class for each of a thousand groups must not be
		// looked through again for each task.
		for _, c := range p.byDepth() {
			for p.startNext(c, now) {
			}
		}
	} else {
		p.startInTurn(now)
	}
	for _, c := range slices.Clone(p.waiting) {
		p.pipeline(c, now)
	}
}

// startInTurn starts a task at a time: after each the jobs hold other amounts.
func (p *Pool) startInTurn(now int64) {
	for again := true; again; {
		again = false
		for _, c := range p.inTurn() {
			if p.startNext(c, now) {
				again = true
				break
			}
		}
	}
}

// queueUp orders the waiting classes: the one of which nothing has begun for the
// longest time is first, of equal ones the one that came first. So tasks of
// different classes begin as they were submitted, and a long queue of one class
// lets others have their turn.
func (p *Pool) queueUp() {
	byWait := func(a, b *Class) int { return cmp.Compare(a.waitsFrom(), b.waitsFrom()) }
	if !slices.IsSortedFunc(p.waiting, byWait) { // mostly they are: only what began has moved
		slices.SortStableFunc(p.waiting, byWait)
	}
}

func (p *Pool) oneJob() bool {
	return !slices.ContainsFunc(p.waiting, func(c *Class) bool { return c.Key.Job != p.waiting[0].Key.Job })
}

// byDepth orders the waiting classes of one job: those with the deepest task
// first, of equal ones as they queued up.
func (p *Pool) byDepth() []*Class {
	order := slices.Clone(p.waiting)
	if slices.ContainsFunc(order, func(c *Class) bool { return c.depth() != order[0].depth() }) {
		slices.SortStableFunc(order, func(a, b *Class) int { return b.depth() - a.depth() })
	}
	return order
}

// inTurn orders the waiting classes: those of the job that holds the least CPU
// first, of equal ones as they queued up, and within a job the class with the
// deepest task.
func (p *Pool) inTurn() []*Class {
	order := slices.Clone(p.waiting)
	if len(order) < 2 {
		return order
	}
	type part struct {
		held spec.Fixed
		turn int
	}
	jobs := map[spec.JobID]part{}
	for i, c := range order {
		if _, ok := jobs[c.Key.Job]; !ok {
			jobs[c.Key.Job] = part{turn: i}
		}
	}
	if len(jobs) > 1 {
		for c := range p.known {
			if j, waits := jobs[c.Key.Job]; waits && !c.Actor {
				j.held += c.weight() * spec.Fixed(len(c.leased))
				jobs[c.Key.Job] = j
			}
		}
	}
	slices.SortStableFunc(order, func(a, b *Class) int {
		x, y := jobs[a.Key.Job], jobs[b.Key.Job]
		return cmp.Or(cmp.Compare(x.held, y.held), x.turn-y.turn, b.depth()-a.depth())
	})
	return order
}

// weight is the CPU that each task of a class holds, and a little for those
// that hold none.
func (c *Class) weight() spec.Fixed {
	most := spec.Fixed(1)
	for _, a := range c.cpus { // a bundle's CPU has two names
		most = max(most, a.n)
	}
	return most
}

// keepRoom chooses the class, if any, that others let go first: its task needs
// more at once than they leave free. Only what tasks hold is waited for.
func (p *Pool) keepRoom(now int64) {
	if h := p.held; h != nil {
		switch {
		case h.Queued() == 0 || p.led.fits(h.need):
			p.held = nil // it goes next
			p.startNext(h, now)
		case now-p.heldFrom > keepAtMost:
			h.patience, p.held = now+restAfter, nil
		default:
			return
		}
	}
	if len(p.waiting) < 2 {
		return
	}
	for _, c := range p.waiting {
		if c.Queued() == 0 || now < c.patience || now-c.waitsFrom() < starves || p.led.fits(c.need) || !p.led.feasible(c.need) {
			continue
		}
		if (p.held == nil || c.waitsFrom() < p.held.waitsFrom()) && p.comesFree(c) {
			p.held, p.heldFrom = c, now
		}
	}
}

// waitsFrom is since when none of a class has begun while some of it waited.
func (c *Class) waitsFrom() int64 { return max(c.First().Queue, c.began) }

// comesFree tells whether a class has room once the running tasks have ended.
func (p *Pool) comesFree(c *Class) bool {
	for _, a := range c.need {
		n := p.led.avail[a.index]
		for _, w := range p.workers {
			if w.State != Leased {
				continue
			}
			for _, t := range w.taken.need {
				if t.index == a.index && !(w.blocked && slices.Contains(w.Class.cpus, t)) {
					n += t.n
				}
			}
		}
		if n < a.n {
			return false
		}
	}
	return true
}

// keptFrom tells whether a class needs something that is being kept for another.
func (p *Pool) keptFrom(c *Class) bool {
	h := p.held
	if h == nil || h == c {
		return false
	}
	for _, a := range h.need {
		if p.led.avail[a.index] >= a.n {
			continue
		}
		for _, b := range c.need {
			if b.index == a.index {
				return true
			}
		}
	}
	return false
}
