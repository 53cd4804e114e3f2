package pool

import (
	"slices"

	"ray/internal/spec"
)

// Blocked tells whether its task waits in get or wait.
func (w *Worker) Blocked() bool { return w.blocked }

// Started adds a worker that has connected.
func (p *Pool) Started(id spec.WorkerID, k Key, now int64) *Worker {
	w := &Worker{ID: id, Key: k, Epoch: 1}
	p.workers[id] = w
	p.startEnded(k)
	p.toIdle(w, now)
	p.Dispatch(now)
	return w
}

// Waiting tells that n more of the workers that were asked for wait for their
// environment (fewer, if n is negative): they do not keep others from starting.
func (p *Pool) Waiting(n int, now int64) {
	p.nstart -= n
	if n > 0 {
		p.Dispatch(now)
	}
}

// StartFailed tells that a worker that was asked for will not come.
func (p *Pool) StartFailed(k Key, now int64) {
	p.startEnded(k)
	p.Dispatch(now)
}

// FailClass takes every queued task of the key out: no worker can be had.
func (p *Pool) FailKey(k Key) (out []*Task) {
	for c := range p.known {
		if c.Key == k {
			out = append(out, p.TakeBack(c, c.Queued(), func(*Task) bool { return true })...)
		}
	}
	return out
}

func (p *Pool) startEnded(k Key) {
	if p.starting[k] > 0 {
		p.starting[k]--
		p.nstart--
	}
	if p.starting[k] == 0 {
		delete(p.starting, k)
	}
}

func (p *Pool) toIdle(w *Worker, now int64) {
	w.State, w.Class, w.idleSince = Idle, nil, now
	p.idle[w.Key] = append(p.idle[w.Key], w)
}

// Done ends a task of a worker. micros is its run time.
func (p *Pool) Done(w *Worker, seq, micros uint32, now int64) *Task {
	i := 0
	for i < len(w.inflight) && w.inflight[i].Seq != seq {
		i++
	}
	if i == len(w.inflight) {
		return nil
	}
	t := w.inflight[i]
	w.inflight = slices.Delete(w.inflight, i, i+1)
	t.Worker = nil
	w.begun = now
	c := t.Class
	c.Running--
	p.running--
	c.learn(micros)
	if w.State == Actor {
		return t
	}
	if w.blocked {
		p.Unblocked(w, seq)
	}
	p.refill(w, c, now)
	return t
}

// Blocked: the task seq of a worker waits in get or wait. Its CPU is free
// meanwhile, and what was behind it is queued again.
func (p *Pool) Blocked(w *Worker, seq, epoch uint32, now int64) {
	if w.State != Leased || w.Epoch != epoch || len(w.inflight) == 0 {
		if w.State == Leased && !w.blocked && len(w.inflight) > 0 && w.inflight[0].Seq == seq {
			// It began under an older epoch: what was sent behind it since
			// then must not wait for it either.
			if len(w.inflight) > 1 && !w.recalling {
				w.recalling = true
				p.emit(Effect{Kind: EffRecall, Worker: w, Epoch: w.Epoch})
			}
			w.block(p, now)
		}
		return
	}
	p.requeueAfter(w, seq)
	w.Epoch++
	w.recalling = false
	w.block(p, now)
}

func (w *Worker) block(p *Pool, now int64) {
	if !w.blocked {
		w.blocked = true
		p.lend(w, 1)
	}
	p.Dispatch(now)
}

// Unblocked: the task goes on. It takes its CPU again even if that makes too
// many run at once.
func (p *Pool) Unblocked(w *Worker, _ uint32) {
	if w.State == Leased && w.blocked {
		w.blocked = false
		p.lend(w, -1)
	}
}

// requeueAfter takes the tasks behind seq back, to the front of the queue.
func (p *Pool) requeueAfter(w *Worker, seq uint32) {
	for i := len(w.inflight) - 1; i >= 0 && w.inflight[i].Seq > seq; i-- {
		t := w.inflight[i]
		w.inflight = w.inflight[:i]
		t.Class.Running--
		p.running--
		if t.Cancelled {
			t.Worker = nil
			p.emit(Effect{Kind: EffDrop, Task: t})
			continue
		}
		p.pushFront(t)
	}
}

// Recalled answers EffRecall: the worker began seq last in this epoch.
func (p *Pool) Recalled(w *Worker, epoch, seq uint32, now int64) {
	if w.State == Stuck && epoch == w.Epoch-1 { // it lives after all
		p.toIdle(w, now)
		p.Dispatch(now)
		return
	}
	if w.Epoch != epoch || !w.recalling {
		return
	}
	w.recalling = false
	p.requeueAfter(w, seq)
	w.Epoch++
	if len(w.inflight) == 0 && w.State == Leased {
		p.endLease(w)
		p.toIdle(w, now)
	}
	p.Dispatch(now)
}

// Looked answers EffLook. The worker has begun no task after begun (a number
// of its own), running or ended. If others wait for it, hold is asked to keep
// it from beginning more of an epoch, and tells what it has begun by then; not
// ok: it works, and will answer the recall by itself.
func (p *Pool) Looked(w *Worker, begun uint32, hold func(epoch uint32) (begun uint32, ok bool), now int64) {
	if w.State != Leased || len(w.inflight) == 0 || w.inflight[len(w.inflight)-1].Seq <= begun {
		return
	}
	if !w.recalling {
		w.recalling = true
		p.emit(Effect{Kind: EffRecall, Worker: w, Epoch: w.Epoch})
	}
	begun, ok := hold(w.Epoch)
	if !ok {
		return
	}
	p.requeueAfter(w, begun)
	w.recalling = false
	w.Epoch++
	if len(w.inflight) == 0 {
		p.endLease(w)
		w.State, w.Class = Stuck, nil
	}
	p.Dispatch(now)
}

// Tick takes tasks back that wait behind a long one, and looks at workers that
// begin nothing.
func (p *Pool) Tick(now int64) {
	if p.running > 0 {
		for _, w := range p.workers {
			waits := now - w.begun
			if w.State != Leased || len(w.inflight) == 0 || w.blocked || waits <= recallAfter {
				continue
			}
			if len(w.inflight) > 1 && !w.recalling {
				w.recalling = true
				p.emit(Effect{Kind: EffRecall, Worker: w, Epoch: w.Epoch})
			}
			if waits > stuckAfter && w.looked != w.begun {
				w.looked = w.begun
				p.emit(Effect{Kind: EffLook, Worker: w, Epoch: w.Epoch})
			}
		}
	}
	if p.queued > 0 {
		p.Dispatch(now)
	}
}

// Reap ends idle workers above the number of CPUs, oldest first, and those of
// keys that are rare: for these none is kept in store.
func (p *Pool) Reap(now int64, rare func(Key) bool) {
	var idle []*Worker
	for _, list := range p.idle {
		idle = append(idle, list...)
	}
	slices.SortFunc(idle, func(a, b *Worker) int { return int(a.idleSince - b.idleSince) })
	for i, w := range idle {
		if now-w.idleSince < idleKeep {
			break
		}
		if i >= len(idle)-p.ncpu && !rare(w.Key) {
			continue
		}
		p.detach(w)
		p.emit(Effect{Kind: EffExit, Worker: w})
	}
}

func (p *Pool) detach(w *Worker) {
	w.State = Dead
	delete(p.workers, w.ID)
	p.takeIdle(w)
	if len(p.idle[w.Key]) == 0 {
		delete(p.idle, w.Key)
	}
}

// Lost: the connection of a worker has ended, and how its process ends will be
// told (WorkerDead). It is given nothing more.
func (p *Pool) Lost(w *Worker) {
	w.lost = true
	p.takeIdle(w)
}

// WorkerDead ends a worker. begun is the task that it had begun and not ended
// (0: none). That task is returned as lost; those behind it are queued again,
// unless they have been lost too often or cancelled, and then they are returned too.
func (p *Pool) WorkerDead(w *Worker, begun uint32, now int64) (lost []*Task) {
	if w.State == Dead {
		return nil
	}
	if w.State == Leased || w.State == Actor {
		p.endLease(w)
	}
	state := w.State
	p.detach(w)
	inflight := w.inflight
	w.inflight = nil
	for i := len(inflight) - 1; i >= 0; i-- {
		t := inflight[i]
		t.Class.Running--
		p.running--
		t.Worker = nil
		t.uncharged++
		if state == Actor || (begun != 0 && t.Seq <= begun) || t.uncharged > maxUncharged || t.Cancelled {
			lost = append(lost, t)
			continue
		}
		p.pushFront(t)
	}
	p.Dispatch(now)
	return lost
}
