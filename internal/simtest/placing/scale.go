package placing

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"time"

	"ray/internal/gcs"
	"ray/internal/scheduler"
	"ray/internal/spec"
	"ray/internal/wire"
)

// Scale is a cluster of nodes with 64 CPUs each that runs a number of tasks:
// the head's tables and scheduler are real and fed with encoded heartbeats, as
// nodes send them.
type Scale struct {
	Nodes, Tasks int
}

// Costs are what Scale has measured, in wall time on the core that ran it.
type Costs struct {
	Decisions      int
	Deciding       time.Duration // for all of them, rounds and index included
	Heartbeats     int
	Hearing        time.Duration // decoding and applying them
	HeartbeatBytes int
	MemoryPerNode  int // bytes of heap: tables, scheduler, last heartbeats
	Makespan       time.Duration
	Bound          time.Duration
}

// The classes of the tasks and how long they run, in rounds.
var (
	scaleNeeds = []spec.Resources{need(1, 0, 0), need(2, 0, 0), need(1, 0, 1), need(4, 0, 8)}
	scaleRuns  = []int{6, 10, 3, 20}
)

const roundTime = 20 * time.Millisecond

type scaleNode struct {
	id   spec.NodeID
	free spec.Resources
	sent *wire.Heartbeat
	told wire.Heartbeat // the head's side
	seq  uint64
	ends map[int][]spec.Resources // by round
	came uint64
	dirt bool
}

type scaleRun struct {
	tables  *gcs.Tables
	cluster *scheduler.Cluster
	nodes   []*scaleNode
	byID    map[spec.NodeID]*scaleNode
	dirty   []*scaleNode
	total   spec.Resources
	random  *rand.Rand
	costs   Costs
}

func heapBytes() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Run measures.
func (s Scale) Run() Costs {
	before := heapBytes()
	r := &scaleRun{tables: gcs.New(), cluster: scheduler.New(), byID: map[spec.NodeID]*scaleNode{}, total: need(64, 0, 256), random: rand.New(rand.NewPCG(1, 1))}
	for i := range s.Nodes {
		r.join(i)
	}
	left := make([]int, len(scaleNeeds))
	work := 0.0
	for i := range left {
		left[i] = s.Tasks / len(left)
		work += float64(left[i]) * scaleNeeds[i][spec.CPU].Float() * float64(scaleRuns[i])
	}
	rounds, running := 0, 0
	for waiting := true; waiting || running > 0; rounds++ {
		running -= r.end(rounds)
		r.beats()
		waiting = false
		began := time.Now()
		r.cluster.Expire(time.Unix(0, 0).Add(time.Duration(rounds) * roundTime))
		r.cluster.Begin()
		for class := range left {
			placed := r.place(class, left[class], rounds)
			left[class] -= placed
			running += placed
			waiting = waiting || left[class] > 0
		}
		r.costs.Deciding += time.Since(began)
	}
	r.costs.Makespan = time.Duration(rounds) * roundTime
	r.costs.Bound = time.Duration(work / float64(64*s.Nodes) * float64(roundTime))
	after := heapBytes()
	r.costs.MemoryPerNode = (after - before) / s.Nodes
	runtime.KeepAlive(r)
	return r.costs
}

func (r *scaleRun) join(i int) {
	n := &scaleNode{id: nodeID(i), free: r.total.Clone(), ends: map[int][]spec.Resources{}}
	ip := fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
	info := spec.NodeInfo{ID: n.id, Name: ip, IP: ip, Hostname: "host-" + ip, Address: ip + ":6380", NodeType: "worker", Instance: "i-" + ip,
		Total: r.total.Clone(), Pythons: []string{"3.11"}, Labels: map[string]string{"ray.io/node-id": n.id.String(), "ray.io/market-type": "spot"}}
	if _, err := r.tables.Join(info, 1); err != nil {
		panic(err) // a fresh id is never refused
	}
	r.cluster.Put(scheduler.Node{ID: n.id, Name: ip, Total: info.Total, Available: info.Total.Clone(), Labels: info.Labels, Pythons: info.Pythons})
	r.nodes = append(r.nodes, n)
	r.byID[n.id] = n
	r.touch(n)
}

func (r *scaleRun) touch(n *scaleNode) {
	if !n.dirt {
		n.dirt = true
		r.dirty = append(r.dirty, n)
	}
}

// end ends the tasks that run until this round.
func (r *scaleRun) end(round int) (ended int) {
	for _, n := range r.nodes {
		done := n.ends[round]
		delete(n.ends, round)
		for _, need := range done {
			n.free.Add(need)
		}
		if ended += len(done); len(done) > 0 {
			r.touch(n)
		}
	}
	return ended
}

// beats has every node that changed send a heartbeat, and the head take it.
func (r *scaleRun) beats() {
	for _, n := range r.dirty {
		n.dirt = false
		n.seq++
		h := &wire.Heartbeat{Total: r.total, Available: n.free.Clone(), Arrivals: n.came, IdleMS: 1}
		delta := h.Since(n.sent, n.seq)
		text, err := json.Marshal(delta)
		if err != nil {
			panic(err) // plain values
		}
		n.sent = h
		r.costs.Heartbeats++
		r.costs.HeartbeatBytes += len(text)
		began := time.Now()
		var got wire.HeartbeatDelta
		if err := json.Unmarshal(text, &got); err != nil {
			panic(err)
		}
		arrived := int(got.Arrivals - n.told.Arrivals)
		n.told = got.On(n.told)
		r.tables.SetNode(n.id, n.told.Total, n.told.Available, n.told.IdleMS, n.told.Activity, n.told.Draining)
		r.cluster.Update(n.id, scheduler.Told{Total: n.told.Total, Available: n.told.Available, Arrived: arrived})
		r.costs.Hearing += time.Since(began)
	}
	r.dirty = r.dirty[:0]
}

// place asks for places for a class as 100 owners would, with a row each.
func (r *scaleRun) place(class, count, round int) (placed int) {
	const owners = 100
	for o := range owners {
		share := (count + o) / owners
		if share == 0 {
			continue
		}
		a := r.cluster.Place(scheduler.Row{Resources: scaleNeeds[class], Count: share, Python: "3.11"}, r.random)
		for _, g := range a.Grants {
			n := r.byID[g.Node]
			for range g.Count {
				n.free.Sub(scaleNeeds[class])
				n.ends[round+scaleRuns[class]] = append(n.ends[round+scaleRuns[class]], scaleNeeds[class])
			}
			n.came += uint64(g.Count)
			r.touch(n)
			r.cluster.Promise(g.Node, scheduler.Promise{Need: scaleNeeds[class], Times: g.Count, Until: time.Unix(0, 0).Add(time.Duration(round+5) * roundTime), Tasks: true})
			placed += g.Count
		}
		if len(a.Grants) == 0 {
			break // the others would hear the same
		}
	}
	r.costs.Decisions += placed
	return placed
}

// PrintScale writes what a few sizes of cluster cost, as a table of Markdown.
func PrintScale(w io.Writer, sizes []Scale) error {
	if _, err := fmt.Fprintln(w, "| nodes × 64 CPUs | tasks | decisions/s | µs a heartbeat | bytes a heartbeat | KB of heap a node | makespan over bound |\n|---|---|---|---|---|---|---|"); err != nil {
		return err
	}
	for _, s := range sizes {
		c := s.Run()
		if _, err := fmt.Fprintf(w, "| %d | %d | %.0f | %.1f | %d | %.1f | %.2f |\n", s.Nodes, s.Tasks, float64(c.Decisions)/c.Deciding.Seconds(),
			float64(c.Hearing.Microseconds())/float64(c.Heartbeats), c.HeartbeatBytes/c.Heartbeats, float64(c.MemoryPerNode)/1024, c.Makespan.Seconds()/c.Bound.Seconds()); err != nil {
			return err
		}
	}
	return nil
}
