package placing

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"ray/internal/spec"
)

// How the made-up cluster works.
const (
	// Beat is how old what a policy knows of a node may be.
	Beat = 20 * time.Millisecond
	// Wire is the way from one process to another.
	Wire = 500 * time.Microsecond
	// Bandwidth is what one node can receive, in bytes per second.
	Bandwidth = 1e9
)

// Policy places ready tasks. It sees nodes as they last told of themselves.
type Policy interface {
	// Begin starts a run on these nodes.
	Begin(nodes []spec.Resources, random *rand.Rand)
	// Told is a heartbeat: what is free, how long the queue takes, and how many
	// tasks have come since the last one.
	Told(node int, free spec.Resources, backlog time.Duration, arrived int)
	// Round starts a pass over the tasks that wait.
	Round(now time.Duration)
	// Place chooses a node for a task; at has the nodes of its inputs, mean the
	// measured run time of its class (0: none yet). False: not now.
	Place(t Task, inputs []Placed, mean time.Duration) (node int, ok bool)
}

// Placed is an input and where it is.
type Placed struct {
	Bytes int64
	Nodes []int
}

type node struct {
	total, free spec.Resources
	nic         time.Duration // until when its network is taken
	queue       []*running
	arrived     int
	toldKey     string
}

type running struct {
	task    Task
	node    int
	missing int
}

type event struct {
	at   time.Duration
	seq  int
	what func()
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	x := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return x
}

type run struct {
	policy Policy
	now    time.Duration
	events events
	seq    int
	nodes  []*node
	tasks  []Task
	waits  []int   // inputs that are not made yet
	next   [][]int // tasks that take a result
	where  [][]int // nodes that have a result
	coming map[[2]int]time.Duration
	ready  []int
	asked  bool
	left   int
	known  []runTimes // by class
}

// Makespan runs a graph under a policy and says when its last task has ended.
func Makespan(tasks []Task, nodes []spec.Resources, p Policy, random *rand.Rand) time.Duration {
	r := &run{policy: p, tasks: tasks, waits: make([]int, len(tasks)), next: make([][]int, len(tasks)), where: make([][]int, len(tasks)),
		coming: map[[2]int]time.Duration{}, left: len(tasks)}
	for _, total := range nodes {
		r.nodes = append(r.nodes, &node{total: total, free: total.Clone()})
	}
	p.Begin(nodes, random)
	for i, t := range tasks {
		for len(r.known) <= t.Class {
			r.known = append(r.known, runTimes{})
		}
		deps := slices.Compact(slices.Sorted(slices.Values(t.Deps)))
		r.tasks[i].Deps = deps
		r.waits[i] = len(deps)
		for _, d := range deps {
			r.next[d] = append(r.next[d], i)
		}
		if len(deps) == 0 {
			r.ready = append(r.ready, i)
		}
	}
	for i := range r.nodes {
		r.at(time.Duration(i)*Beat/time.Duration(len(r.nodes)), func() { r.beat(i) })
	}
	r.ask()
	for r.left > 0 && len(r.events) > 0 {
		e := heap.Pop(&r.events).(event)
		r.now = e.at
		e.what()
	}
	return r.now
}

func (r *run) at(after time.Duration, what func()) {
	r.seq++
	heap.Push(&r.events, event{r.now + after, r.seq, what})
}

// beat tells the policy of a node, if anything has changed, and again after Beat.
func (r *run) beat(i int) {
	n := r.nodes[i]
	backlog := time.Duration(0)
	for _, q := range n.queue {
		mean := r.mean(q.task.Class)
		if mean == 0 {
			mean = 10 * time.Millisecond
		}
		slots := 1
		for k, v := range q.task.Need {
			if v > 0 {
				slots = max(slots, int(n.total[k]/v))
			}
		}
		backlog += mean / time.Duration(slots)
	}
	if key := n.free.Key() + backlog.String(); key != n.toldKey || n.arrived > 0 {
		n.toldKey = key
		r.policy.Told(i, n.free.Clone(), backlog, n.arrived)
		n.arrived = 0
		if len(r.ready) > 0 {
			r.ask()
		}
	}
	r.at(Beat, func() { r.beat(i) })
}

// ask has the ready tasks placed, a moment later.
func (r *run) ask() {
	if r.asked {
		return
	}
	r.asked = true
	r.at(Wire, func() {
		r.asked = false
		r.policy.Round(r.now)
		kept := r.ready[:0]
		for _, id := range r.ready {
			t := r.tasks[id]
			to, ok := r.policy.Place(t, r.inputs(t), r.mean(t.Class))
			if !ok {
				kept = append(kept, id)
				continue
			}
			r.at(Wire, func() { r.arrive(&running{task: t, node: to}) })
		}
		r.ready = kept
	})
}

func (r *run) inputs(t Task) (out []Placed) {
	for _, d := range t.Deps {
		out = append(out, Placed{r.tasks[d].Bytes, r.where[d]})
	}
	return out
}

// arrive queues a task on its node, which fetches what it lacks meanwhile.
func (r *run) arrive(x *running) {
	n := r.nodes[x.node]
	n.queue = append(n.queue, x)
	n.arrived++
	for _, d := range x.task.Deps {
		if slices.Contains(r.where[d], x.node) {
			continue
		}
		x.missing++
		key := [2]int{d, x.node}
		if _, ok := r.coming[key]; !ok {
			n.nic = max(n.nic, r.now) + time.Duration(float64(r.tasks[d].Bytes)/Bandwidth*float64(time.Second))
			r.coming[key] = n.nic
			r.at(n.nic-r.now+Wire, func() { r.where[d] = append(r.where[d], x.node) })
		}
		r.at(r.coming[key]-r.now+Wire, func() {
			x.missing--
			r.start(x.node)
		})
	}
	r.start(x.node)
}

// start begins what can begin on a node, in the order of arrival.
func (r *run) start(i int) {
	n := r.nodes[i]
	n.queue = slices.DeleteFunc(n.queue, func(x *running) bool {
		if x.missing > 0 || !n.free.Fits(x.task.Need) {
			return false
		}
		n.free.Sub(x.task.Need)
		k := &r.known[x.task.Class]
		k.running, k.begun = k.running+1, k.begun+r.now
		r.at(x.task.Runs, func() { r.end(x) })
		return true
	})
}

// runTimes is what is known of a class, as node/pool knows it.
type runTimes struct {
	mean           time.Duration // of those that ended
	ended, running int
	begun          time.Duration // sum over those that run
}

// mean counts how long the others have run already: the first to end are the
// shortest.
func (r *run) mean(class int) time.Duration {
	k := r.known[class]
	if k.ended == 0 {
		return 0
	}
	return k.mean + (time.Duration(k.running)*r.now-k.begun)/time.Duration(k.ended)
}

func (r *run) end(x *running) {
	n, t := r.nodes[x.node], x.task
	n.free.Add(t.Need)
	r.left--
	k := &r.known[t.Class]
	k.running, k.begun = k.running-1, k.begun-(r.now-t.Runs)
	if k.ended++; k.ended == 1 {
		k.mean = t.Runs
	} else {
		k.mean += (t.Runs - k.mean) / 8
	}
	r.where[t.ID] = append(r.where[t.ID], x.node)
	for _, id := range r.next[t.ID] {
		if r.waits[id]--; r.waits[id] == 0 {
			r.ready = append(r.ready, id)
		}
	}
	if len(r.ready) > 0 {
		r.ask()
	}
	r.start(x.node)
}
