package pool

import (
	"slices"

	"ray/internal/spec"
)

// Dispatch starts whatever can start.
func (p *Pool) Dispatch(now int64) {
	if p.queued == 0 {
		p.waiting = p.drop()
		return
	}
	p.waiting = p.drop()
	p.queueUp()
	p.share(now)
}

// drop unlists classes that have nothing queued.
func (p *Pool) drop() []*Class {
	kept := p.waiting[:0]
	for _, c := range p.waiting {
		if c.Queued() > 0 {
			kept = append(kept, c)
		} else {
			c.listed = false
		}
	}
	return kept
}

func (p *Pool) dispatch(c *Class, now int64) {
	if p.closed {
		return
	}
	for p.startNext(c, now) {
	}
	p.pipeline(c, now)
}

// startNext gives the first task of a class a worker of its own. False: there
// is none, or no room.
func (p *Pool) startNext(c *Class, now int64) bool {
	if c.Queued() == 0 || !p.led.fits(c.need) || p.keptFrom(c) {
		return false
	}
	w := p.idleWorker(c)
	if w == nil {
		p.start(c)
		return false
	}
	if w = p.lease(w, c, now); w == nil {
		return false
	}
	p.exec(w, p.pop(c), now)
	return true
}

// pipeline sends tasks to workers that run others of their class.
func (p *Pool) pipeline(c *Class, now int64) {
	for c.Queued() > 0 {
		w := p.behind(c, now)
		if w == nil {
			return
		}
		p.exec(w, p.pop(c), now)
	}
}

// behind chooses a worker whose queue may take one more task of the class.
func (p *Pool) behind(c *Class, now int64) *Worker {
	if c.cap <= 1 || c.Actor || p.keptFrom(c) {
		return nil
	}
	crowded := len(p.waiting) > 1
	var best *Worker
	for _, w := range c.leased {
		if w.lost || w.blocked || w.recalling || len(w.inflight) == 0 || len(w.inflight) >= c.cap || now-w.begun > recallAfter {
			continue
		}
		if crowded && now-w.since > turn {
			continue // its lease ends when its queue is empty, and others have theirs
		}
		if best == nil || len(w.inflight) < len(best.inflight) {
			best = w
		}
	}
	return best
}

// idleWorker takes the idle worker of the class's key that was used last. One
// that has seen a device serves only classes that want some.
func (p *Pool) idleWorker(c *Class) *Worker {
	list := p.idle[c.Key]
	for i := len(list) - 1; i >= 0; i-- {
		if w := list[i]; w.devices == "" || c.devices {
			p.takeIdle(w)
			return w
		}
	}
	return nil
}

func (p *Pool) takeIdle(w *Worker) {
	if i := slices.Index(p.idle[w.Key], w); i >= 0 {
		p.idle[w.Key] = slices.Delete(p.idle[w.Key], i, i+1)
	}
}

// lease gives w, or an idle worker that suits the devices of the lease, to the
// class, and tells which; nil if the resources or such a worker are not there.
func (p *Pool) lease(w *Worker, c *Class, now int64) *Worker {
	t, ok := p.led.take(c.need)
	if !ok {
		p.putBack(w)
		return nil
	}
	if len(t.devices) == 0 {
		w.used = true
	} else if w = p.swapForDevices(w, t); w == nil {
		p.led.give(t)
		p.start(c)
		return nil
	}
	w.taken, w.Class, w.since = t, c, now
	w.State = Leased
	if c.Actor {
		w.State = Actor
	}
	c.leased = append(c.leased, w)
	mark := leaseMark{c, w.Epoch, w.devices}
	if w.lease != mark {
		w.lease = mark
		p.emit(Effect{Kind: EffLease, Worker: w, Epoch: w.Epoch})
	}
	return w
}

// swapForDevices gives w or an idle worker in its place: one that has used exactly
// these devices before, else one that has run nothing yet, since what a user's
// library has found out about devices it keeps; nil if there is none.
func (p *Pool) swapForDevices(w *Worker, t taken) *Worker {
	ids := deviceKey(t.devices)
	candidates := append([]*Worker{w}, p.idle[w.Key]...)
	suits := func(o *Worker) bool { return o.devices == ids }
	at := slices.IndexFunc(candidates, suits)
	if at < 0 {
		at = slices.IndexFunc(candidates, func(o *Worker) bool { return o.devices == "" && !o.used })
	}
	if at < 0 {
		p.putBack(w)
		return nil
	}
	if chosen := candidates[at]; chosen != w {
		p.takeIdle(chosen)
		p.putBack(w)
		w = chosen
	}
	w.devices = ids
	return w
}

// putBack makes w idle again that was idle and has not been used.
func (p *Pool) putBack(w *Worker) { p.idle[w.Key] = append(p.idle[w.Key], w) }

func (p *Pool) exec(w *Worker, t *Task, now int64) {
	w.seq++
	t.Seq, t.Worker = w.seq, w
	if len(w.inflight) == 0 {
		w.begun = now
	}
	w.inflight = append(w.inflight, t)
	t.Class.Running++
	t.Class.began = now
	p.running++
	p.emit(Effect{Kind: EffExec, Worker: w, Task: t, Epoch: w.Epoch})
}

// start asks for worker processes, as many as could begin a task now.
func (p *Pool) start(c *Class) {
	could := c.Queued()
	for _, a := range c.need {
		could = min(could, int(p.led.avail[a.index]/a.n))
	}
	for n := could - p.starting[c.Key]; n > 0 && p.nstart < max(4, 2*p.ncpu); n-- {
		p.startOne(c.Key)
	}
}

func (p *Pool) startOne(k Key) {
	p.starting[k]++
	p.nstart++
	p.emit(Effect{Kind: EffStart, Key: k})
}

// Prestart makes sure that n workers of the key exist or are starting.
func (p *Pool) Prestart(k Key, n int) {
	n = min(n, p.ncpu) - len(p.idle[k]) - p.starting[k]
	for ; n > 0; n-- {
		p.startOne(k)
	}
}

func (c *Class) learn(micros uint32) {
	m := float64(max(micros, 1))
	c.ended++
	if c.Mean == 0 {
		c.Mean = m
	} else {
		c.Mean += (m - c.Mean) / 8
	}
	if c.Mean >= shortTask {
		c.cap = 1
		return
	}
	c.cap = min(maxInFlight, c.cap*2, max(1, int(recallAfter/c.Mean)))
}

// Expected is the mean run time in µs that can be told to others: the tasks
// that run already count with their ages, as the first to end are the shortest
// ones. 0 if none has ended.
func (c *Class) Expected(now int64) float64 {
	if c.ended == 0 {
		return 0
	}
	age := int64(0)
	for _, w := range c.leased {
		if len(w.inflight) > 0 && !w.blocked {
			age += max(0, now-w.begun)
		}
	}
	return c.Mean + float64(age)/float64(c.ended)
}

// refill gives the worker more of its class, or ends its lease.
func (p *Pool) refill(w *Worker, c *Class, now int64) {
	if len(w.inflight) > 0 || w.State != Leased {
		if c.Queued() > 0 && len(w.inflight) < c.cap/2 {
			p.dispatch(c, now)
		}
		return
	}
	if c.Queued() > 0 && !w.recalling && len(p.waiting) <= 1 && w.lease.epoch == w.Epoch && w.lease.class == c && !p.closed {
		// keep the lease: the same resources go to the next of the class
		p.exec(w, p.pop(c), now)
		p.dispatch(c, now)
		return
	}
	p.endLease(w)
	p.toIdle(w, now)
	p.Dispatch(now)
}

func (p *Pool) endLease(w *Worker) {
	if w.Class != nil {
		c := w.Class
		if i := slices.Index(c.leased, w); i >= 0 {
			c.leased = slices.Delete(c.leased, i, i+1)
		}
	}
	if w.blocked {
		w.blocked = false
		p.lend(w, -1)
	}
	p.led.give(w.taken)
	w.taken = taken{}
	if w.recalling {
		// The worker may hear of it after the next task has been sent: that
		// one must be of an epoch that the recall does not name.
		w.recalling = false
		w.Epoch++
	}
}

// lend gives the CPUs of w's lease to others while its task waits (sign 1), or
// takes them back (-1), the node's own as well as those of a bundle.
func (p *Pool) lend(w *Worker, sign spec.Fixed) {
	if w.Class == nil {
		return
	}
	for _, a := range w.Class.cpus {
		p.led.avail[a.index] += sign * a.n
	}
}
