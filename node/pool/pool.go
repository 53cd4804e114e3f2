package pool

import (
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"ray/internal/spec"
)

// Limits of the policy. Times are microseconds.
const (
	maxInFlight   = 64
	shortTask     = 1000      // tasks under it may share a worker's queue
	recallAfter   = 5000      // a task behind an older one is taken back
	stuckAfter    = 1_000_000 // a worker that begins nothing for so long is looked at
	idleKeep      = 2_000_000
	maxUncharged  = 3 // unbegun deliveries lost with a worker before one counts
	unknownMicros = 10_000
)

// Key says which tasks a worker process may run.
type Key struct {
	Job    spec.JobID
	Env    string // hash of the runtime environment; "" for the job's plain one
	Python string
	// Root is the detached actor from which the tasks descend; zero for those
	// that end with their job.
	Root spec.ActorID
}

// Class is a scheduling class: tasks that differ only in code and arguments.
type Class struct {
	Key   Key
	Need  spec.Resources
	Actor bool // the worker belongs to the task until it ends
	Data  any  // the daemon's: lease text, strategy

	Mean    float64 // run time in µs; 0 unknown
	Running int

	ended   int // tasks that have run to their end here
	name    string
	need    []amount
	cpus    []amount // the part of need that is CPUs, also of a bundle
	devices bool     // it needs devices
	grouped bool     // it needs what a bundle offers
	queue   []*Task
	head    int
	cap     int
	leased  []*Worker
	listed  bool
	began   int64 // when the last of it began
	// patience is until when the class is not held room for again.
	patience int64
}

// Leased is how many workers have a lease of the class.
func (c *Class) Leased() int { return len(c.leased) }

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
	// Cancelled: it must not begin again; taken back, it is given up by EffDrop.
	Cancelled bool
	// Depth is how many tasks above this one wait for what is below them. The
	// deepest begins first: one that was begun before its children would only
	// hold one more worker while it waits for them.
	Depth int

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
	Stuck // begins nothing and does not answer: its tasks have been taken back
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
	since     int64 // when its lease began
	blocked   bool
	recalling bool
	lost      bool  // its connection has ended
	looked    int64 // the value of begun at which it was looked at
	taken     taken
	devices   string // those that it has seen; such a worker is used for no others
	used      bool   // it has run something without devices
	idleSince int64
	lease     leaseMark
}

type leaseMark struct {
	class   *Class
	epoch   uint32
	devices string
}

// InFlight are the tasks that the worker has, the running one first.
func (w *Worker) InFlight() []*Task { return w.inflight }

// Devices are the numbers of those that the present lease holds, by family.
func (w *Worker) Devices() map[string][]string { return deviceIDs(w.taken.devices) }

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
	// EffLook: see what Worker, which may be stopped, has begun, and tell the
	// pool by Looked.
	EffLook
	// EffDrop: Task, which was cancelled, has been taken back unbegun.
	EffDrop
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
	classes  map[string]*Class // by name
	known    map[*Class]bool   // those that have indexes in the ledger
	waiting  []*Class          // classes with queued tasks, the next one first
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
	held     *Class // room is kept for its first task
	heldFrom int64
}

// New makes a pool over total.
func New(total spec.Resources) *Pool {
	return &Pool{
		led:     newLedger(total),
		ncpu:    max(1, int(total[spec.CPU]/spec.FixedScale)),
		classes: map[string]*Class{}, known: map[*Class]bool{},
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
func (p *Pool) Total() spec.Resources { return p.led.asMap(p.led.total) }

func (p *Pool) Available() spec.Resources { return p.led.asMap(p.led.avail) }

// Queued and Running count tasks.
func (p *Pool) Queued() int { return p.queued }

func (p *Pool) Running() int { return p.running }

// Classes calls f for each class.
func (p *Pool) Classes(f func(*Class)) {
	for c := range p.known {
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

// Class finds or makes the class of a worker key and resources. Tasks whose
// places are chosen by different rules differ in the variant.
func (p *Pool) Class(k Key, need spec.Resources, actor bool, variant string) *Class {
	name := k.Job.String() + "|" + k.Env + "|" + k.Python + "|" + need.Key()
	if actor {
		name += "|actor"
	}
	if !k.Root.IsZero() {
		name += "|" + k.Root.String()
	}
	if variant != "" {
		name += "|" + variant
	}
	if c := p.classes[name]; c != nil {
		return c
	}
	c := &Class{Key: k, Need: need.Clone(), Actor: actor, name: name, cap: 1}
	p.classes[name] = c
	p.know(c)
	return c
}

// Feasible tells whether the class could ever run here.
func (p *Pool) Feasible(c *Class) bool {
	p.know(c)
	return p.led.feasible(c.need)
}

// Fits tells whether a task of the class could begin now.
func (p *Pool) Fits(c *Class) bool {
	p.know(c)
	return p.led.fits(c.need)
}

// FitsBehind tells whether a task of the class could begin as well, once all
// that is queued here has begun.
func (p *Pool) FitsBehind(c *Class) bool {
	fits := p.Fits(c)
	if !fits || p.queued == 0 {
		return fits
	}
	for _, a := range c.need {
		left := p.led.avail[a.index] - a.n
		for other := range p.known {
			for _, o := range other.need {
				if o.index == a.index {
					left -= o.n * spec.Fixed(other.Queued())
				}
			}
		}
		if left < 0 {
			return false
		}
	}
	return true
}

// Lacks says what of a class's needs is not free now: "0 of 4 CPU free".
func (p *Pool) Lacks(c *Class) (out []string) {
	p.know(c)
	for _, a := range c.need {
		if name := p.led.names[a.index]; p.led.avail[a.index] < a.n && !strings.HasPrefix(name, "bundle_group_") {
			base, _, inGroup := strings.Cut(name, "_group_")
			text := fmt.Sprintf("%s of %s %s free", max(0, p.led.avail[a.index]), p.led.total[a.index], base)
			if inGroup {
				text += " in the bundle"
			}
			if !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out
}

// LocalWait estimates in µs how long a further task of the class would wait
// behind those that are queued, and besides more that are not here yet. It is
// no less than about the time for which none of the class has begun: whatever
// was measured before, what runs now may run for ever. About, that is rounded
// down to a power of two: an estimate that changes all the time would be news
// all the time.
func (p *Pool) LocalWait(c *Class, besides int, now int64) int64 {
	mean := c.Mean
	if mean == 0 {
		mean = unknownMicros
	}
	estimate := int64(mean * float64(c.Queued()+besides) / float64(max(1, len(c.leased))))
	began := c.began
	if c.Queued() > 0 {
		began = c.waitsFrom()
	}
	if still := now - began; began > 0 && still > estimate {
		estimate = max(estimate, 1<<(bits.Len64(uint64(still))-1))
	}
	return estimate
}

// Add queues a task and starts it if it can.
func (p *Pool) Add(t *Task, now int64) {
	t.Queue = now
	p.push(t)
	p.dispatch(t.Class, now)
}

func (p *Pool) push(t *Task) {
	c := t.Class
	p.know(c)
	if c.head > 32 && c.head > len(c.queue)/2 {
		n := copy(c.queue, c.queue[c.head:])
		clear(c.queue[n:])
		c.queue, c.head = c.queue[:n], 0
	}
	c.insert(t, func(o *Task) bool { return o.Depth < t.Depth })
	p.enlist(t)
}

// insert puts t before the first task for which less holds; it holds for all
// that follow one for which it does.
func (c *Class) insert(t *Task, less func(*Task) bool) {
	if n := len(c.queue); n == c.head || !less(c.queue[n-1]) {
		c.queue = append(c.queue, t)
		return
	}
	waiting := c.queue[c.head:]
	at := sort.Search(len(waiting), func(i int) bool { return less(waiting[i]) })
	if at == 0 && c.head > 0 {
		c.head--
		c.queue[c.head] = t
		return
	}
	c.queue = slices.Insert(c.queue, c.head+at, t)
}

// depth is that of the task that begins next.
func (c *Class) depth() int {
	if t := c.First(); t != nil {
		return t.Depth
	}
	return -1
}

func (p *Pool) pushFront(t *Task) {
	t.Class.insert(t, func(o *Task) bool { return o.Depth <= t.Depth })
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

// Close lets nothing further begin.
func (p *Pool) Close() { p.closed = true }
