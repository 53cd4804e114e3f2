package pool

import (
	"math/rand"
	"testing"

	"ray/internal/spec"
)

func cpus(n float64) spec.Resources { return spec.FromFloats(map[string]float64{spec.CPU: n}) }

// fakeWorker is a model of a worker process: it runs what it was sent in
// order, and honours recalls as a real one does.
type fakeWorker struct {
	w        *Worker
	inbox    []sent
	running  *sent
	begun    uint32 // last task begun
	recalled uint32 // epochs up to it are skipped
	recalls  []uint32
	blocked  bool
	stopped  bool // as by SIGSTOP
	// The slot: the last task announced, and the mark of the pool's side.
	announced bool
	word      uint32
	hold      [2]uint32
	answers   [][2]uint32 // to recalls, on their way
}

type sent struct {
	t     *Task
	seq   uint32
	epoch uint32
}

// model drives a Pool against fake workers and checks what must always hold.
type model struct {
	t       *testing.T
	p       *Pool
	rng     *rand.Rand
	now     int64
	starts  []Key
	workers []*fakeWorker
	done    map[*Task]int
	begun   map[*Task]int
	next    byte
	ending  bool
}

func (m *model) pump() {
	for {
		es := m.p.Effects()
		if len(es) == 0 {
			return
		}
		for _, e := range es {
			switch e.Kind {
			case EffStart:
				m.starts = append(m.starts, e.Key)
			case EffExec:
				f := e.Worker.Data.(*fakeWorker)
				f.inbox = append(f.inbox, sent{e.Task, e.Task.Seq, e.Epoch})
			case EffRecall:
				f := e.Worker.Data.(*fakeWorker)
				f.recalls = append(f.recalls, e.Epoch)
			case EffLook:
				f := e.Worker.Data.(*fakeWorker)
				m.p.Looked(f.w, f.word, func(epoch uint32) (uint32, bool) {
					for range 4 {
						word := f.word
						m.meanwhile(f)
						f.hold = [2]uint32{epoch, word}
						m.meanwhile(f)
						if f.word == word {
							return word, true
						}
					}
					f.hold = [2]uint32{epoch - 1}
					return 0, false
				}, m.now)
			}
		}
	}
}

// gone tells whether a task is the pool's again, as the worker sees it.
func (f *fakeWorker) gone(s *sent) bool {
	if s.epoch <= f.hold[0] {
		return s.epoch < f.hold[0] || s.seq > f.hold[1]
	}
	return s.epoch <= f.recalled
}

// turn is one atomic step of a worker that begins its next task: announce it
// in the slot, then look at the marks again.
func (m *model) turn(f *fakeWorker) {
	if f.running != nil || len(f.inbox) == 0 {
		return
	}
	s := f.inbox[0]
	switch {
	case f.gone(&s) && f.announced: // withdraw, and look once more
		f.announced, f.word = false, f.begun
	case f.gone(&s):
		f.inbox = f.inbox[1:]
		if s.epoch == f.hold[0] {
			f.recalled = max(f.recalled, s.epoch)
			f.answers = append(f.answers, [2]uint32{f.hold[0], f.begun})
		}
	case !f.announced:
		f.announced, f.word = true, s.seq
	default:
		m.begun[s.t]++
		if m.begun[s.t] > 1+m.t0(s.t) {
			m.t.Fatalf("a task began twice without having been lost")
		}
		f.inbox, f.announced = f.inbox[1:], false
		f.running, f.begun = &s, s.seq
	}
}

// meanwhile lets a worker that is not stopped go on while the daemon looks.
func (m *model) meanwhile(f *fakeWorker) {
	for !f.stopped && m.rng.Intn(2) == 0 {
		m.turn(f)
	}
}

// begin lets a worker begin its next task, skipping those it must not.
func (m *model) begin(f *fakeWorker) {
	for f.running == nil && len(f.inbox) > 0 && (m.ending || m.rng.Intn(4) > 0) {
		m.turn(f)
	}
	if len(f.answers) > 0 && m.rng.Intn(2) == 0 {
		m.p.Recalled(f.w, f.answers[0][0], f.answers[0][1], m.now)
		f.answers = f.answers[1:]
	}
}

// t0 counts how often a begun task was lost with its worker and added again.
func (m *model) t0(t *Task) int { return t.Data.(int) }

func (m *model) step(class *Class) {
	m.now += int64(m.rng.Intn(4000))
	if m.rng.Intn(50) == 0 {
		m.now += stuckAfter
	}
	switch k := m.rng.Intn(10); {
	case k < 2:
		m.p.Add(&Task{Class: class, Data: 0}, m.now)
	case k == 2 && len(m.starts) > 0:
		key := m.starts[0]
		m.starts = m.starts[1:]
		m.next++
		f := &fakeWorker{}
		f.w = m.p.Started(spec.WorkerID{m.next}, key, m.now)
		f.w.Data = f
		m.workers = append(m.workers, f)
	case len(m.workers) == 0:
	default:
		m.worker(m.workers[m.rng.Intn(len(m.workers))], k)
	}
	m.pump()
	m.check()
}

func (m *model) worker(f *fakeWorker, k int) {
	if f.stopped && k != 9 {
		m.p.Tick(m.now)
		return
	}
	switch k {
	case 3, 4:
		m.begin(f)
	case 5, 6:
		if s := f.running; s != nil {
			f.running = nil
			if f.blocked {
				f.blocked = false
				m.p.Unblocked(f.w, s.seq)
			}
			if got := m.p.Done(f.w, s.seq, uint32(m.rng.Intn(1500)), m.now); got == s.t {
				m.done[s.t]++
			} else {
				m.t.Fatalf("a DONE was not taken: the task was given to somebody else while it ran")
			}
		}
	case 7:
		if len(f.recalls) > 0 {
			epoch := f.recalls[0]
			f.recalls = f.recalls[1:]
			f.recalled = max(f.recalled, epoch)
			f.answers = append(f.answers, [2]uint32{epoch, f.begun})
		} else if len(f.answers) > 0 {
			m.p.Recalled(f.w, f.answers[0][0], f.answers[0][1], m.now)
			f.answers = f.answers[1:]
		} else {
			m.p.Tick(m.now)
		}
	case 8:
		if f.running != nil && !f.blocked {
			f.blocked = true
			f.recalled = max(f.recalled, f.running.epoch)
			m.p.Blocked(f.w, f.running.seq, f.running.epoch, m.now)
		}
	case 9:
		switch m.rng.Intn(6) {
		case 0:
			m.kill(f)
		case 1:
			f.stopped = true
		case 2:
			f.stopped = false
		}
	}
}

func (m *model) kill(f *fakeWorker) {
	begun := uint32(0)
	if f.running != nil {
		begun = f.running.seq
	}
	for i, x := range m.workers {
		if x == f {
			m.workers = append(m.workers[:i], m.workers[i+1:]...)
			break
		}
	}
	for _, t := range m.p.WorkerDead(f.w, begun, m.now) {
		if begun != 0 && t.Seq == begun {
			t.Data = m.t0(t) + 1
		}
		m.p.Add(t, m.now)
	}
}

// check: resources never go below zero except by tasks that went on after
// blocking, and nothing is lost or counted twice.
func (m *model) check() {
	inflight := 0
	for _, f := range m.workers {
		inflight += len(f.w.inflight)
	}
	if inflight != m.p.Running() {
		m.t.Fatalf("pool counts %d running tasks, workers have %d", m.p.Running(), inflight)
	}
	for _, n := range m.done {
		if n > 1 {
			m.t.Fatal("a task ended twice")
		}
	}
}

func TestEveryTaskRunsOnce(t *testing.T) {
	for seed := range int64(200) {
		m := &model{t: t, p: New(cpus(2)), rng: rand.New(rand.NewSource(seed)), done: map[*Task]int{}, begun: map[*Task]int{}}
		class := m.p.Class(Key{Python: "3.11"}, cpus(1), false, "")
		for range 400 {
			m.step(class)
		}
		m.ending = true
		for range 20_000 { // let everything end
			if m.p.Queued() == 0 && m.p.Running() == 0 {
				break
			}
			m.now += 10_000
			for _, f := range m.workers {
				f.stopped = false
			}
			for len(m.starts) > 0 {
				key := m.starts[0]
				m.starts = m.starts[1:]
				m.next++
				f := &fakeWorker{}
				f.w = m.p.Started(spec.WorkerID{m.next}, key, m.now)
				f.w.Data = f
				m.workers = append(m.workers, f)
			}
			m.p.Tick(m.now)
			m.pump()
			for _, f := range m.workers {
				for _, k := range []int{7, 3, 5} {
					m.worker(f, k)
					m.pump()
				}
			}
		}
		if m.p.Queued() != 0 || m.p.Running() != 0 {
			t.Fatalf("seed %d: %d tasks wait and %d run for ever", seed, m.p.Queued(), m.p.Running())
		}
		if free := m.p.Available()[spec.CPU]; free != 2*spec.FixedScale {
			t.Fatalf("seed %d: %s of 2 CPUs are free when nothing runs", seed, free)
		}
	}
}

// start gives the pool the workers that it asked for.
func start(p *Pool, now int64) (ws []*Worker) {
	for _, e := range p.Effects() {
		if e.Kind == EffStart {
			ws = append(ws, p.Started(spec.NewWorkerID(), e.Key, now))
		}
	}
	return ws
}

func TestLongTasksDoNotShareAWorker(t *testing.T) {
	p := New(cpus(1))
	c := p.Class(Key{}, cpus(1), false, "")
	for range 3 {
		p.Add(&Task{Class: c}, 0)
	}
	w := start(p, 0)[0]
	p.Done(w, 1, 50_000, 50_000)
	if n := len(w.InFlight()); n != 1 {
		t.Fatalf("%d tasks of 50 ms are in flight at one worker, want 1", n)
	}
}

func TestShortTasksShareAWorkerAndAreRecalled(t *testing.T) {
	p := New(cpus(1))
	c := p.Class(Key{}, cpus(1), false, "")
	for range 100 {
		p.Add(&Task{Class: c}, 0)
	}
	w := start(p, 0)[0]
	now := int64(0)
	for seq := uint32(1); seq <= 20; seq++ {
		now += 50
		p.Done(w, seq, 50, now)
	}
	behind := len(w.InFlight())
	if behind < 8 {
		t.Fatalf("%d tasks of 50 µs are in flight, want many", behind)
	}
	p.Effects()
	p.Tick(now + recallAfter + 1)
	es := p.Effects()
	if len(es) != 1 || es[0].Kind != EffRecall {
		t.Fatalf("effects %v, want the recall of what waits behind a long task", es)
	}
	p.Recalled(w, es[0].Epoch, 21, now+recallAfter+1)
	if len(w.InFlight()) != 1 || p.Queued() != 79 {
		t.Fatalf("%d in flight and %d queued after the recall, want 1 and 79", len(w.InFlight()), p.Queued())
	}
}

// Between the end of a worker's connection and the news of how it ended,
// nothing is given to it.
func TestAWorkerThatIsLostIsGivenNothing(t *testing.T) {
	p := New(cpus(1))
	c := p.Class(Key{}, cpus(1), false, "")
	add := func() *Task {
		task := &Task{Class: c}
		p.Add(task, 0)
		return task
	}
	p.Prestart(Key{}, 1)
	idle := start(p, 0)[0]
	p.Lost(idle)
	first := add()
	busy := start(p, 0)
	if len(busy) != 1 || len(idle.InFlight()) > 0 || first.Worker != busy[0] {
		t.Fatalf("%d workers are asked for in place of the lost one, which has %d tasks", len(busy), len(idle.InFlight()))
	}
	for seq := uint32(1); seq <= 20; seq++ { // short ones: several at a time go to a worker
		add()
		p.Done(busy[0], seq, 50, int64(seq)*50)
	}
	add()
	before := len(busy[0].InFlight())
	p.Lost(busy[0])
	if add(); before == 0 || len(busy[0].InFlight()) != before {
		t.Errorf("a lost worker with %d tasks has %d now", before, len(busy[0].InFlight()))
	}
	if lost := p.WorkerDead(busy[0], 21, 2000); len(lost) != 1 || p.WorkerDead(idle, 0, 2000) != nil || len(start(p, 2000)) != 1 {
		t.Errorf("%d tasks are lost, want the one that had begun; the others get a worker", len(lost))
	}
}

// What a stopped worker has not begun runs elsewhere, and the worker is used
// again when it goes on.
func TestTasksOfAStoppedWorkerAreTakenBack(t *testing.T) {
	p := New(cpus(2))
	c := p.Class(Key{}, cpus(1), false, "")
	p.Add(&Task{Class: c}, 0)
	w := start(p, 0)[0]
	p.Done(w, 1, 50, 50)
	p.Effects()
	p.Add(&Task{Class: c}, 100) // sent to w, which is stopped and does not even read it
	if len(w.InFlight()) != 1 {
		t.Fatal("the idle worker must get the task")
	}
	p.Effects()
	now := int64(100 + stuckAfter + 1)
	p.Tick(now)
	es := p.Effects()
	if len(es) != 1 || es[0].Kind != EffLook {
		t.Fatalf("effects %v, want a look at the worker", es)
	}
	p.Looked(w, 1, func(uint32) (uint32, bool) { return 1, true }, now)
	if w.State != Stuck || len(w.InFlight()) != 0 {
		t.Fatalf("the worker is %d with %d in flight", w.State, len(w.InFlight()))
	}
	es = p.Effects()
	if len(es) != 2 || es[0].Kind != EffRecall || es[1].Kind != EffStart {
		t.Fatalf("effects %v, want a recall for the day that it goes on, and another worker", es)
	}
	second := p.Started(spec.NewWorkerID(), Key{}, now)
	if len(second.InFlight()) != 1 {
		t.Fatal("another worker must run the task")
	}
	p.Done(second, second.InFlight()[0].Seq, 50, now+50)
	if free := p.Available()[spec.CPU]; free != 2*spec.FixedScale {
		t.Fatalf("%s CPU is free at the end, want 2", free)
	}
	p.Recalled(w, es[0].Epoch, 1, now+60)
	if w.State != Idle {
		t.Fatal("a worker that goes on is idle")
	}
}

// A worker that has begun its task is left alone, however long it takes.
func TestALongTaskIsNotTakenBack(t *testing.T) {
	p := New(cpus(1))
	c := p.Class(Key{}, cpus(1), false, "")
	p.Add(&Task{Class: c}, 0)
	w := start(p, 0)[0]
	p.Effects()
	for now := int64(0); now < 10*stuckAfter; now += stuckAfter / 2 {
		p.Tick(now)
		for _, e := range p.Effects() {
			if e.Kind != EffLook {
				t.Fatalf("effect %v", e)
			}
			p.Looked(w, 1, func(uint32) (uint32, bool) { t.Fatal("held"); return 0, false }, now)
		}
	}
	if p.Done(w, 1, 10, 10*stuckAfter) == nil {
		t.Fatal("the task was given away")
	}
}

func TestBlockedTaskLendsItsCPU(t *testing.T) {
	p := New(cpus(1))
	c := p.Class(Key{}, cpus(1), false, "")
	p.Add(&Task{Class: c}, 0)
	w := start(p, 0)[0]
	p.Add(&Task{Class: c}, 1)
	p.Effects()
	p.Blocked(w, 1, w.Epoch, 2)
	second := start(p, 3)
	if len(second) != 1 || len(second[0].InFlight()) != 1 {
		t.Fatal("the second task must run while the first is blocked")
	}
	p.Unblocked(w, 1)
	if p.led.avail[p.led.intern(spec.CPU)] >= 0 {
		t.Fatal("both tasks hold the CPU once the first goes on")
	}
	p.Done(w, 1, 10, 4)
	p.Done(second[0], 1, 10, 5)
	if free := p.Available()[spec.CPU]; free != spec.FixedScale {
		t.Fatalf("%s CPU is free at the end, want 1", free)
	}
}

func TestActorsKeepTheirWorker(t *testing.T) {
	p := New(cpus(1))
	c := p.Class(Key{}, cpus(1), true, "")
	p.Add(&Task{Class: c}, 0)
	w := start(p, 0)[0]
	p.Done(w, 1, 10, 1)
	if w.State != Actor || p.Available()[spec.CPU] != 0 {
		t.Fatal("an actor holds its worker and resources after its constructor")
	}
	p.WorkerDead(w, 0, 2)
	if p.Available()[spec.CPU] != spec.FixedScale {
		t.Fatal("a dead actor's resources are not free")
	}
}

func TestReapKeepsNoWorkersOfRareKeys(t *testing.T) {
	p := New(cpus(2))
	rare := Key{Root: spec.ActorID{1}}
	for _, k := range []Key{{}, rare} {
		p.Add(&Task{Class: p.Class(k, cpus(1), false, "")}, 0)
	}
	for _, w := range start(p, 0) {
		p.Done(w, 1, 10, 1)
	}
	reap := func(now int64) (keys []Key) {
		p.Reap(now, func(k Key) bool { return k == rare })
		for _, e := range p.Effects() {
			if e.Kind == EffExit {
				keys = append(keys, e.Worker.Key)
			}
		}
		return keys
	}
	if got := reap(2); len(got) != 0 {
		t.Errorf("ended at once: %v", got)
	}
	if got := reap(idleKeep + 2); len(got) != 1 || got[0] != rare {
		t.Errorf("ended %v, want the worker of the rare key", got)
	}
}

func TestGPUsAreGivenOutByDevice(t *testing.T) {
	l := newLedger(spec.FromFloats(map[string]float64{spec.GPU: 2}))
	half := l.amounts(spec.FromFloats(map[string]float64{spec.GPU: 0.5}))
	one := l.amounts(spec.FromFloats(map[string]float64{spec.GPU: 1}))
	a, _ := l.take(half)
	b, _ := l.take(half)
	if deviceIDs(a.devices)[spec.GPU][0] != deviceIDs(b.devices)[spec.GPU][0] {
		t.Fatal("two halves must share a device")
	}
	c, ok := l.take(one)
	if !ok || deviceIDs(c.devices)[spec.GPU][0] == deviceIDs(a.devices)[spec.GPU][0] {
		t.Fatal("a whole device must be the other one")
	}
	l.give(b)
	if _, ok := l.take(one); ok {
		t.Fatal("no whole device is free")
	}
}

func TestBundlesReserveAndReturn(t *testing.T) {
	p := New(spec.FromFloats(map[string]float64{spec.CPU: 2, spec.GPU: 1}))
	pg := spec.PlacementGroupID{7}
	b := Bundle{Group: pg, Index: 1, Resources: spec.FromFloats(map[string]float64{spec.CPU: 1, spec.GPU: 1})}
	if err := p.PrepareBundle(b); err != nil {
		t.Fatal(err)
	}
	if err := p.CommitBundle(pg, 1, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.PrepareBundle(Bundle{Group: pg, Index: 2, Resources: b.Resources}); err == nil {
		t.Fatal("a second bundle with the only GPU was reserved")
	}
	for _, index := range []int{1, -1} {
		c := p.Class(Key{}, GroupResources(b.Resources, pg, index), false, "")
		if !p.Feasible(c) {
			t.Fatalf("a task with bundle index %d does not fit into the bundle", index)
		}
		tk, ok := p.led.take(c.need)
		if !ok || len(tk.devices) != 1 || tk.devices[0].id != 0 {
			t.Fatalf("bundle index %d got devices %v, want device 0", index, tk.devices)
		}
		p.led.give(tk)
	}
	reserved, used := p.GroupUse()
	if reserved[spec.CPU] != spec.FixedScale || used[spec.CPU] != 0 {
		t.Fatalf("reserved %s, used %s", reserved, used)
	}
	p.ReturnBundle(pg, 1, 0)
	if got := p.Total(); len(got) != 2 || got[spec.CPU] != 2*spec.FixedScale || p.Available()[spec.GPU] != spec.FixedScale {
		t.Fatalf("total %s, available %s after the bundle was returned", got, p.Available())
	}
}

// A task that was cancelled before it began does not begin elsewhere.
func TestCancelledTasksDoNotBeginAgain(t *testing.T) {
	p := New(cpus(1))
	c := p.Class(Key{}, cpus(1), false, "")
	for range 100 {
		p.Add(&Task{Class: c}, 0)
	}
	w := start(p, 0)[0]
	for seq := uint32(1); seq <= 20; seq++ {
		p.Done(w, seq, 50, int64(50*seq))
	}
	victim, second := w.InFlight()[1], w.InFlight()[2]
	victim.Cancelled, second.Cancelled = true, true
	p.Effects()
	p.Tick(1000 + recallAfter + 1)
	es := p.Effects()
	p.Recalled(w, es[0].Epoch, 21, 1000+recallAfter+2)
	dropped := 0
	for _, e := range p.Effects() {
		if e.Kind == EffDrop && (e.Task == victim || e.Task == second) {
			dropped++
		}
	}
	if dropped != 2 || victim.Queued() {
		t.Fatalf("%d of 2 cancelled tasks were dropped when they were recalled", dropped)
	}
	head := w.InFlight()[0]
	head.Cancelled = true
	if lost := p.WorkerDead(w, 0, 20_000); len(lost) != 1 || lost[0] != head {
		t.Fatalf("lost %v, want the cancelled task although it had not begun", lost)
	}
}
