package pool

import (
	"slices"

	"ray/internal/spec"
)

// Limits of the policy. Times are microseconds.
const (
	maxInFlight   = 64
	shortTask     = 1000 // tasks under it may share a worker's queue
	recallAfter   = 5000 // a task behind an older one is taken back
	idleKeep      = 2_000_000
	maxUncharged  = 3 // unbegun deliveries lost with a worker before one counts
	unknownMicros = 10_000
)

// Key says which tasks a worker process may run.
type Key struct {
	Job    spec.JobID
	Env    string // hash of the runtime environment; "" for the job's plain one
	Python string
}

// Class is a scheduling class: tasks that differ only in code and arguments.
type Class struct {
	Key   Key
	Need  spec.Resources
	Actor bool // the worker belongs to the task until it ends
	Data  any  // the daemon's: lease text, strategy

	Mean    float64 // run time in µs; 0 unknown
	Running int

	name   string
	need   []amount
	cpu    spec.Fixed
	queue  []*Task
	head   int
	cap    int
	leased []*Worker
	listed bool
}

// Queued counts the tasks that wait in the class.
func (c *Class) Queued() int { return len(c.queue) - c.head }

// Name is a text unique among the pool's classes.
func (c *Class) Name() string { return c.name }

// First is the task at the head of the queue, or nil.
func (c *Class) First() *Task {
	if c.Queued() == 0 {
		return nil
	}
	return c.queue[c.head]
}

// Task is the pool's record of one task.
type Task struct {
	Class  *Class
	Data   any // the daemon's task
	Worker *Worker
	Seq    uint32
	Queue  int64 // µs when it was queued

	uncharged int
	queued    bool
}

// Queued tells whether the task waits in its class's queue.
func (t *Task) Queued() bool { return t.queued }

// State of a worker.
type State uint8

// States of a worker.
const (
	Starting State = iota
	Idle
	Leased
	Actor
	Dead
)

// Worker is one worker process.
type Worker struct {
	ID    spec.WorkerID
	Key   Key
	State State
	Epoch uint32
	Class *Class
	Data  any // the daemon's connection

	inflight  []*Task
	seq       uint32
	begun     int64 // when the head of inflight can have begun
	blocked   bool
	recalling bool
	taken     taken
	gpus      string // devices it has seen; such a worker is used for no others
	idleSince int64
	lease     leaseMark
}

type leaseMark struct {
	class *Class
	epoch uint32
	gpus  string
}

// InFlight are the tasks that the worker has, the running one first.
func (w *Worker) InFlight() []*Task { return w.inflight }

// Blocked tells whether its task waits in get or wait.
func (w *Worker) Blocked() bool { return w.blocked }

// GPUs are the device ids of the present lease.
func (w *Worker) GPUs() []string { return gpuIDs(w.taken.gpus) }

// EffectKind says what the daemon has to do.
type EffectKind uint8

const (
	// EffStart: start a worker process of Key and tell the pool by Started.
	EffStart EffectKind = iota
	// EffLease: tell Worker its lease before the EXECs that follow.
	EffLease
	// EffExec: send Task to Worker.
	EffExec
	// EffRecall: tell Worker to begin no further task of Epoch.
	EffRecall
	// EffExit: end the idle Worker.
	EffExit
)

// Effect is one thing to do.
type Effect struct {
	Kind   EffectKind
	Worker *Worker
	Task   *Task
	Key    Key
	Epoch  uint32
}

// Pool is the state of one node's workers.
type Pool struct {
	led      *ledger
	ncpu     int
	classes  map[string]*Class
	waiting  []*Class // classes with queued tasks, in turn
	workers  map[spec.WorkerID]*Worker
	idle     map[Key][]*Worker
	starting map[Key]int
	nstart   int
	bundles  map[bundleKey]*bundle
	queued   int
	running  int
	effects  []Effect
	spare    []Effect
	closed   bool
}

// New makes a pool over total.
func New(total spec.Resources) *Pool {
	return &Pool{
		led:      newLedger(total),
		ncpu:     max(1, int(total[spec.CPU]/spec.FixedScale)),
		classes:  map[string]*Class{},
		workers:  map[spec.WorkerID]*Worker{},
		idle:     map[Key][]*Worker{},
		starting: map[Key]int{},
		bundles:  map[bundleKey]*bundle{},
	}
}

// Effects takes what has been appended since the last call; valid until the
// next call.
func (p *Pool) Effects() []Effect {
	out := p.effects
	p.effects, p.spare = p.spare[:0], out
	return out
}

func (p *Pool) emit(e Effect) { p.effects = append(p.effects, e) }

// Total and Available are the node's resources, group resources included.
func (p *Pool) Total() spec.Resources     { return p.led.asMap(p.led.total) }
func (p *Pool) Available() spec.Resources { return p.led.asMap(p.led.avail) }

// Queued and Running count tasks.
func (p *Pool) Queued() int  { return p.queued }
func (p *Pool) Running() int { return p.running }

// Classes calls f for each class.
func (p *Pool) Classes(f func(*Class)) {
	for _, c := range p.classes {
		f(c)
	}
}

// Workers calls f for each worker that is not dead.
func (p *Pool) Workers(f func(*Worker)) {
	for _, w := range p.workers {
		f(w)
	}
}

// Worker finds a worker, or nil.
func (p *Pool) Worker(id spec.WorkerID) *Worker { return p.workers[id] }

// Class finds or makes the class of a worker key and resources.
func (p *Pool) Class(k Key, need spec.Resources, actor bool) *Class {
	name := k.Job.String() + "|" + k.Env + "|" + k.Python + "|" + need.Key()
	if actor {
		name += "|actor"
	}
	if c := p.classes[name]; c != nil {
		return c
	}
	c := &Class{Key: k, Need: need.Clone(), Actor: actor, name: name, need: p.led.amounts(need), cpu: need[spec.CPU], cap: 1}
	p.classes[name] = c
	return c
}

// Feasible tells whether the class could ever run here.
func (p *Pool) Feasible(c *Class) bool { return p.led.feasible(c.need) }

// Fits tells whether a task of the class could begin now.
func (p *Pool) Fits(c *Class) bool { return p.led.fits(c.need) }

// LocalWait estimates in µs how long a further task of the class would wait.
func (p *Pool) LocalWait(c *Class) int64 {
	mean := c.Mean
	if mean == 0 {
		mean = unknownMicros
	}
	return int64(mean * float64(c.Queued()) / float64(max(1, len(c.leased))))
}

// Add queues a task and starts it if it can.
func (p *Pool) Add(t *Task, now int64) {
	t.Queue = now
	p.push(t)
	p.dispatch(t.Class, now)
}

func (p *Pool) push(t *Task) {
	c := t.Class
	if c.head > 32 && c.head > len(c.queue)/2 {
		n := copy(c.queue, c.queue[c.head:])
		clear(c.queue[n:])
		c.queue, c.head = c.queue[:n], 0
	}
	c.queue = append(c.queue, t)
	p.enlist(t)
}

func (p *Pool) pushFront(t *Task) {
	c := t.Class
	if c.head > 0 {
		c.head--
		c.queue[c.head] = t
	} else {
		c.queue = slices.Insert(c.queue, 0, t)
	}
	p.enlist(t)
}

func (p *Pool) enlist(t *Task) {
	t.queued, t.Worker = true, nil
	p.queued++
	if c := t.Class; !c.listed {
		c.listed = true
		p.waiting = append(p.waiting, c)
	}
}

func (p *Pool) pop(c *Class) *Task {
	t := c.queue[c.head]
	c.queue[c.head] = nil
	c.head++
	if c.head == len(c.queue) {
		c.queue, c.head = c.queue[:0], 0
	}
	t.queued = false
	p.queued--
	return t
}

// Remove takes a queued task out. False: it is not queued.
func (p *Pool) Remove(t *Task) bool {
	if !t.queued {
		return false
	}
	c := t.Class
	for i := c.head; i < len(c.queue); i++ {
		if c.queue[i] == t {
			c.queue = slices.Delete(c.queue, i, i+1)
			t.queued = false
			p.queued--
			return true
		}
	}
	return false
}

// TakeBack removes up to n tasks from the end of a class's queue, for another
// node to run.
func (p *Pool) TakeBack(c *Class, n int, ok func(*Task) bool) (out []*Task) {
	for i := len(c.queue) - 1; i >= c.head && len(out) < n; i-- {
		t := c.queue[i]
		if !ok(t) {
			continue
		}
		c.queue = slices.Delete(c.queue, i, i+1)
		t.queued = false
		p.queued--
		out = append(out, t)
	}
	if c.head == len(c.queue) {
		c.queue, c.head = c.queue[:0], 0
	}
	return out
}

// Dispatch starts whatever can start.
func (p *Pool) Dispatch(now int64) {
	if p.queued == 0 {
		p.waiting = p.drop()
		return
	}
	p.waiting = p.drop()
	for _, c := range slices.Clone(p.waiting) {
		p.dispatch(c, now)
	}
	if len(p.waiting) > 1 { // the next class is first next time
		p.waiting = append(p.waiting[1:], p.waiting[0])
	}
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
	for c.Queued() > 0 {
		if p.led.fits(c.need) {
			if w := p.idleWorker(c.Key, ""); w != nil {
				if !p.lease(w, c, now) {
					return
				}
				p.exec(w, p.pop(c), now)
				continue
			}
			p.start(c)
		}
		w := c.behind(now)
		if w == nil {
			return
		}
		p.exec(w, p.pop(c), now)
	}
}

// behind chooses a worker whose queue may take one more task of the class.
func (c *Class) behind(now int64) *Worker {
	if c.cap <= 1 || c.Actor {
		return nil
	}
	var best *Worker
	for _, w := range c.leased {
		if w.blocked || w.recalling || len(w.inflight) == 0 || len(w.inflight) >= c.cap || now-w.begun > recallAfter {
			continue
		}
		if best == nil || len(w.inflight) < len(best.inflight) {
			best = w
		}
	}
	return best
}

// idleWorker takes the idle worker of the key that was used last.
func (p *Pool) idleWorker(k Key, gpus string) *Worker {
	list := p.idle[k]
	for i := len(list) - 1; i >= 0; i-- {
		if w := list[i]; w.gpus == "" || w.gpus == gpus {
			p.idle[k] = slices.Delete(list, i, i+1)
			return w
		}
	}
	return nil
}

func (p *Pool) lease(w *Worker, c *Class, now int64) bool {
	t, ok := p.led.take(c.need)
	if !ok {
		p.toIdle(w, now)
		return false
	}
	if len(t.gpus) > 0 {
		p.swapForGPU(&w, c, t, now)
	}
	w.taken, w.Class = t, c
	w.State = Leased
	if c.Actor {
		w.State = Actor
	}
	c.leased = append(c.leased, w)
	mark := leaseMark{c, w.Epoch, w.gpus}
	if w.lease != mark {
		w.lease = mark
		p.emit(Effect{Kind: EffLease, Worker: w, Epoch: w.Epoch})
	}
	return true
}

// swapForGPU prefers a worker that has used exactly these devices before.
func (p *Pool) swapForGPU(w **Worker, c *Class, t taken, now int64) {
	ids := ""
	for _, id := range gpuIDs(t.gpus) {
		ids += id + ","
	}
	for i, o := range p.idle[c.Key] {
		if o.gpus == ids {
			p.idle[c.Key] = slices.Delete(p.idle[c.Key], i, i+1)
			p.toIdle(*w, now)
			*w = o
			break
		}
	}
	(*w).gpus = ids
}

func (p *Pool) exec(w *Worker, t *Task, now int64) {
	w.seq++
	t.Seq, t.Worker = w.seq, w
	if len(w.inflight) == 0 {
		w.begun = now
	}
	w.inflight = append(w.inflight, t)
	t.Class.Running++
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

// Started adds a worker that has connected.
func (p *Pool) Started(id spec.WorkerID, k Key, now int64) *Worker {
	w := &Worker{ID: id, Key: k, Epoch: 1}
	p.workers[id] = w
	p.startEnded(k)
	p.toIdle(w, now)
	p.Dispatch(now)
	return w
}

// StartFailed tells that a worker that was asked for will not come.
func (p *Pool) StartFailed(k Key, now int64) {
	p.startEnded(k)
	p.Dispatch(now)
}

// FailClass takes every queued task of the key out: no worker can be had.
func (p *Pool) FailKey(k Key) (out []*Task) {
	for _, c := range p.classes {
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

func (c *Class) learn(micros uint32) {
	m := float64(max(micros, 1))
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
		p.led.avail[p.led.intern(spec.CPU)] -= w.cpu()
	}
	p.led.give(w.taken)
	w.taken = taken{}
	w.recalling = false
}

// cpu is the amount of plain CPU that the worker's lease holds.
func (w *Worker) cpu() spec.Fixed {
	if w.Class == nil {
		return 0
	}
	return w.Class.cpu
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
		p.led.avail[p.led.intern(spec.CPU)] += w.cpu()
	}
	p.Dispatch(now)
}

// Unblocked: the task goes on. It takes its CPU again even if that makes too
// many run at once.
func (p *Pool) Unblocked(w *Worker, _ uint32) {
	if w.State == Leased && w.blocked {
		w.blocked = false
		p.led.avail[p.led.intern(spec.CPU)] -= w.cpu()
	}
}

// requeueAfter takes the tasks behind seq back, to the front of the queue.
func (p *Pool) requeueAfter(w *Worker, seq uint32) {
	for i := len(w.inflight) - 1; i >= 0 && w.inflight[i].Seq > seq; i-- {
		t := w.inflight[i]
		w.inflight = w.inflight[:i]
		t.Class.Running--
		p.running--
		p.pushFront(t)
	}
}

// Recalled answers EffRecall: the worker began seq last in this epoch.
func (p *Pool) Recalled(w *Worker, epoch, seq uint32, now int64) {
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

// Tick takes tasks back that wait behind a long one, and ends workers that
// have been idle for long.
func (p *Pool) Tick(now int64) {
	if p.running > 0 {
		for _, w := range p.workers {
			if w.State == Leased && len(w.inflight) > 1 && !w.recalling && !w.blocked && now-w.begun > recallAfter {
				w.recalling = true
				p.emit(Effect{Kind: EffRecall, Worker: w, Epoch: w.Epoch})
			}
		}
	}
	if p.queued > 0 {
		p.Dispatch(now)
	}
}

// Reap ends idle workers above the number of CPUs, oldest first.
func (p *Pool) Reap(now int64) {
	var idle []*Worker
	for _, list := range p.idle {
		idle = append(idle, list...)
	}
	slices.SortFunc(idle, func(a, b *Worker) int { return int(a.idleSince - b.idleSince) })
	for i := 0; i < len(idle)-p.ncpu; i++ {
		w := idle[i]
		if now-w.idleSince < idleKeep {
			break
		}
		p.detach(w)
		p.emit(Effect{Kind: EffExit, Worker: w})
	}
}

func (p *Pool) detach(w *Worker) {
	w.State = Dead
	delete(p.workers, w.ID)
	if i := slices.Index(p.idle[w.Key], w); i >= 0 {
		p.idle[w.Key] = slices.Delete(p.idle[w.Key], i, i+1)
	}
	if len(p.idle[w.Key]) == 0 {
		delete(p.idle, w.Key)
	}
}

// WorkerDead ends a worker. begun is the task that it had begun and not ended
// (0: none). That task is returned as lost; those behind it are queued again,
// unless they have been lost too often, and then they are returned too.
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
		if state == Actor || (begun != 0 && t.Seq <= begun) || t.uncharged > maxUncharged {
			lost = append(lost, t)
			continue
		}
		p.pushFront(t)
	}
	p.Dispatch(now)
	return lost
}

// Close lets nothing further begin.
func (p *Pool) Close() { p.closed = true }
