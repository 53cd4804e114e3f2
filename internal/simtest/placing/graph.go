package placing

import (
	"math"
	"math/rand/v2"
	"time"

	"ray/internal/spec"
)

// Task is one of a graph.
type Task struct {
	ID    int
	Class int // tasks of one class need the same and run for about as long
	Need  spec.Resources
	Runs  time.Duration
	Deps  []int // tasks whose results it takes
	Bytes int64 // size of its result
}

// Shape says what random graphs look like.
type Shape struct {
	Name    string
	Tasks   int
	Layers  int           // 1: all independent
	Deps    int           // most inputs of a task
	Mean    time.Duration // of run times
	Bytes   int64         // mean size of results
	Classes []spec.Resources
}

// Graph draws a graph: each task takes results of earlier layers, mostly of
// the one before it. Run times of a class vary by a third about a mean of its own.
func (s Shape) Graph(random *rand.Rand) []Task {
	mean := make([]float64, len(s.Classes))
	for i := range mean {
		mean[i] = float64(s.Mean) * math.Exp(random.NormFloat64()*0.5)
	}
	tasks := make([]Task, s.Tasks)
	width := max(1, s.Tasks/s.Layers)
	for i := range tasks {
		class := random.IntN(len(s.Classes))
		t := Task{ID: i, Class: class, Need: s.Classes[class]}
		t.Runs = max(time.Millisecond, time.Duration(mean[class]*(1+0.33*random.NormFloat64())))
		t.Bytes = int64(float64(s.Bytes) * random.ExpFloat64())
		if layer := i / width; layer > 0 && s.Deps > 0 {
			for range 1 + random.IntN(s.Deps) {
				from := layer - 1
				if random.IntN(8) == 0 {
					from = random.IntN(layer)
				}
				t.Deps = append(t.Deps, from*width+random.IntN(width))
			}
		}
		tasks[i] = t
	}
	return tasks
}

// Bound is a time that no schedule can beat: the longest chain of run times, and
// the work of each resource over what all nodes have of it.
func Bound(tasks []Task, nodes []spec.Resources) time.Duration {
	end := make([]time.Duration, len(tasks))
	longest := time.Duration(0)
	work, total := map[string]float64{}, map[string]float64{}
	for i, t := range tasks {
		start := time.Duration(0)
		for _, d := range t.Deps {
			start = max(start, end[d])
		}
		end[i] = start + t.Runs
		longest = max(longest, end[i])
		for k, v := range t.Need {
			work[k] += v.Float() * float64(t.Runs)
		}
	}
	for _, n := range nodes {
		for k, v := range n {
			total[k] += v.Float()
		}
	}
	for k, w := range work {
		longest = max(longest, time.Duration(w/total[k]))
	}
	return longest
}
