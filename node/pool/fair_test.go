package pool

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

// timed drives a pool in virtual time: workers start in 5 ms and run their
// tasks one after another.
type timed struct {
	t     *testing.T
	p     *Pool
	now   int64
	next  byte
	ends  map[*Worker]int64
	lasts map[*Task]int64
	done  map[*Class]int
	from  map[*Class]int64 // when the first of it began
}

func newTimed(t *testing.T, cpu int) *timed {
	return &timed{t: t, p: New(cpus(float64(cpu))), ends: map[*Worker]int64{}, lasts: map[*Task]int64{}, done: map[*Class]int{}, from: map[*Class]int64{}}
}

func (s *timed) add(c *Class, n int, micros int64) {
	for range n {
		task := &Task{Class: c}
		s.lasts[task] = micros
		s.p.Add(task, s.now)
	}
	s.effects()
}

func (s *timed) effects() {
	for {
		list := slices.Clone(s.p.Effects())
		if len(list) == 0 {
			return
		}
		for _, e := range list {
			switch e.Kind {
			case EffStart:
				s.next++
				s.p.Started(spec.WorkerID{s.next}, e.Key, s.now)
			case EffExec:
				if len(e.Worker.inflight) > 0 && s.ends[e.Worker] == 0 {
					s.begin(e.Worker)
				}
			case EffRecall:
				if e.Worker.Epoch == e.Epoch && len(e.Worker.inflight) > 0 {
					s.p.Recalled(e.Worker, e.Epoch, e.Worker.inflight[0].Seq, s.now)
				}
			}
		}
	}
}

func (s *timed) begin(w *Worker) {
	t := w.inflight[0]
	s.ends[w] = s.now + s.lasts[t]
	if _, ok := s.from[t.Class]; !ok {
		s.from[t.Class] = s.now
	}
}

// run goes on until then, in steps of 50 µs, with a tick every millisecond.
func (s *timed) run(until int64) {
	for ; s.now < until; s.now += 50 {
		for w, end := range s.ends {
			if end == 0 || end > s.now {
				continue
			}
			s.ends[w] = 0
			t := w.inflight[0]
			s.done[t.Class]++
			s.p.Done(w, t.Seq, uint32(s.lasts[t]), s.now)
			if len(w.inflight) > 0 && s.ends[w] == 0 {
				s.begin(w)
			}
			s.effects()
		}
		if s.now%1000 == 0 {
			s.p.Tick(s.now)
			s.effects()
		}
	}
}

func job(n byte) Key { return Key{Job: spec.JobID{n}} }

// A job with an endless queue of short tasks, which share workers' queues, must
// leave another job its part of the node, from soon on.
func TestJobsShareTheNode(t *testing.T) {
	s := newTimed(t, 4)
	first := s.p.Class(job(1), cpus(1), false, "")
	s.add(first, 60_000, 100)
	s.run(200_000)
	if s.done[first] < 6000 {
		t.Fatalf("%d tasks in 200 ms on 4 CPUs", s.done[first])
	}
	second := s.p.Class(job(2), cpus(1), false, "")
	came, before := s.now, s.done[first]
	s.add(second, 60_000, 100)
	s.run(came + 400_000)
	if wait := s.from[second] - came; wait > 50_000 {
		t.Errorf("the second job waited %d µs", wait)
	}
	a, b := s.done[first]-before, s.done[second]
	if a+b < 12_000 {
		t.Errorf("%d tasks in 400 ms on 4 CPUs", a+b)
	}
	if share := float64(b) / float64(a+b); share < 0.4 || share > 0.6 {
		t.Errorf("the second job got %.0f %% of the node", 100*share)
	}
}

// Three jobs with many classes each, of long tasks: what they hold is even,
// however many classes a job has.
func TestClassesOfAJobShareItsPart(t *testing.T) {
	s := newTimed(t, 6)
	var of [2][]*Class
	for j, classes := range []int{1, 5} {
		for i := range classes {
			c := s.p.Class(job(byte(j+1)), spec.Resources{spec.CPU: spec.FixedScale, "x": spec.Fixed(0)}, false, string(rune('a'+i)))
			of[j] = append(of[j], c)
			s.add(c, 600/classes, 20_000)
		}
	}
	s.run(1_000_000)
	sums := [2]int{}
	for j := range of {
		for _, c := range of[j] {
			sums[j] += s.done[c]
		}
	}
	if sums[0]+sums[1] < 250 || sums[0] < 110 || sums[1] < 110 {
		t.Errorf("the jobs ran %v tasks", sums)
	}
}

// A task that needs the whole node is not kept out for ever by small ones that
// follow each other; those go on once it has run.
func TestALargeTaskGetsItsRoom(t *testing.T) {
	s := newTimed(t, 4)
	small := s.p.Class(job(1), cpus(1), false, "")
	large := s.p.Class(job(1), cpus(4), false, "")
	s.add(small, 10_000, 10_000)
	s.run(50_000)
	s.add(large, 1, 10_000)
	s.run(3_000_000)
	if s.done[large] != 1 {
		t.Fatal("the large task did not run in 3 s")
	}
	if wait := s.from[large]; wait < starves || wait > 2*starves {
		t.Errorf("it began at %d µs", wait)
	}
	if s.done[small] < 1000 {
		t.Errorf("only %d small tasks ran", s.done[small])
	}
}

// An actor that never ends does not make others wait for what it holds.
func TestNoRoomIsKeptInVain(t *testing.T) {
	s := newTimed(t, 4)
	actor := s.p.Class(job(1), cpus(1), true, "")
	s.add(actor, 1, 1000)
	s.run(20_000)
	small := s.p.Class(job(1), cpus(1), false, "")
	large := s.p.Class(job(1), cpus(4), false, "")
	s.add(small, 1000, 10_000)
	s.add(large, 1, 10_000)
	s.run(3_000_000)
	if s.done[small] < 850 {
		t.Errorf("%d small tasks ran in 3 s on 3 CPUs", s.done[small])
	}
}

// Two classes of one job, the second of which needs the whole node: what came
// first begins first, however often was looked for a worker meanwhile.
func TestClassesBeginAsTheyCame(t *testing.T) {
	for looks := range 4 {
		p := New(cpus(4))
		small, whole := p.Class(job(1), cpus(1), false, ""), p.Class(job(1), cpus(4), false, "")
		p.Add(&Task{Class: small}, 0)
		p.Add(&Task{Class: whole}, 0)
		for i := range looks {
			p.Dispatch(int64(i))
		}
		start(p, 10)
		if small.Running != 1 || whole.Running != 0 {
			t.Errorf("after %d looks: %d of the first and %d of the second run", looks, small.Running, whole.Running)
		}
	}
}

// One slot, a long queue and classes that come later: none waits for the queue's end.
func TestAClassThatBeganWaitsForTheOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New(cpus(1))
		classes := make([]*Class, rapid.IntRange(2, 6).Draw(t, "classes"))
		now := int64(0)
		for i := range classes {
			classes[i] = p.Class(job(1), cpus(1), false, string(rune('a'+i)))
			for range 8 {
				p.Add(&Task{Class: classes[i]}, now)
			}
			now += rapid.Int64Range(0, 1).Draw(t, "later")
		}
		now++
		w := start(p, now)[0]
		counts := map[*Class]int{}
		for range 8 * len(classes) {
			counts[w.Class]++
			for _, c := range classes {
				if n := counts[w.Class] - counts[c]; n > 1 {
					t.Fatalf("a class had %d turns more than another", n)
				}
			}
			now += 2 * turn
			p.Done(w, w.InFlight()[0].Seq, 2*turn, now)
			if len(w.InFlight()) == 0 {
				break
			}
		}
	})
}
