package placing

import (
	"math/rand/v2"
	"testing"
	"time"

	"ray/internal/spec"
)

// BenchmarkScale is one run of the largest cluster.
func BenchmarkScale(b *testing.B) {
	for range b.N {
		c := Scale{Nodes: 10_000, Tasks: 1_000_000}.Run()
		b.ReportMetric(float64(c.Decisions)/c.Deciding.Seconds(), "decisions/s")
		b.ReportMetric(float64(c.MemoryPerNode), "B/node")
	}
}

// TestScale: what a heartbeat and a node cost does not grow with the number of
// nodes, and all tasks run.
func TestScale(t *testing.T) {
	for _, nodes := range []int{50, 1000} {
		c := Scale{Nodes: nodes, Tasks: 100 * nodes}.Run()
		if c.Decisions != 100*nodes {
			t.Errorf("%d nodes: %d decisions for %d tasks", nodes, c.Decisions, 100*nodes)
		}
		if each := c.HeartbeatBytes / c.Heartbeats; each > 200 {
			t.Errorf("%d nodes: %d bytes a heartbeat", nodes, each)
		}
		if c.MemoryPerNode > 20<<10 {
			t.Errorf("%d nodes: %d bytes of memory a node", nodes, c.MemoryPerNode)
		}
		if ratio := c.Makespan.Seconds() / c.Bound.Seconds(); ratio > 1.6 {
			t.Errorf("%d nodes: %.2f times the least possible time", nodes, ratio)
		}
	}
}

// TestQuality: with data to move ours is far ahead, without it at least level.
func TestQuality(t *testing.T) {
	for _, s := range Shapes() {
		s.Tasks /= 4
		ratios := Ratios(s, 1, 7)
		ours, hybrid, random := ratios[3], ratios[2], ratios[0]
		if ours > 1.1*hybrid || ours > 1.1*random {
			t.Errorf("%s: ours %.2f of the bound, hybrid %.2f, random %.2f", s.Name, ours, hybrid, random)
		}
		if s.Bytes >= 20<<20 && len(s.Classes) == 1 && ours > 0.8*hybrid {
			t.Errorf("%s: ours %.2f of the bound, hybrid %.2f", s.Name, ours, hybrid)
		}
	}
}

// TestBound cannot be beaten, here by two nodes that a graph fills to the end.
func TestBound(t *testing.T) {
	nodes := []spec.Resources{need(2, 0, 4), need(2, 0, 4)}
	tasks := make([]Task, 8)
	for i := range tasks {
		tasks[i] = Task{ID: i, Need: need(1, 0, 0), Runs: 100 * time.Millisecond}
	}
	if b := Bound(tasks, nodes); b != 200*time.Millisecond {
		t.Errorf("bound %v", b)
	}
	chain := []Task{{ID: 0, Need: need(1, 0, 0), Runs: time.Second}, {ID: 1, Need: need(1, 0, 0), Runs: time.Second, Deps: []int{0}}}
	if b := Bound(chain, nodes); b != 2*time.Second {
		t.Errorf("bound of a chain %v", b)
	}
	_, policies := Compared()
	for _, p := range policies {
		if took := Makespan(append([]Task(nil), tasks...), nodes, p, rand.New(rand.NewPCG(1, 1))); took < 200*time.Millisecond {
			t.Errorf("%T took %v, less than possible", p, took)
		}
	}
}
