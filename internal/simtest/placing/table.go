package placing

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"ray/internal/spec"
)

func need(cpu, gpu, gib float64) spec.Resources {
	return spec.FromFloats(map[string]float64{spec.CPU: cpu, spec.GPU: gpu, spec.Memory: gib * (1 << 30)})
}

// Shapes are the graphs that are compared.
func Shapes() []Shape {
	one := []spec.Resources{need(1, 0, 0)}
	mixed := []spec.Resources{need(1, 0, 0), need(2, 0, 2), need(1, 0, 6), need(4, 0, 1)}
	return []Shape{
		{Name: "independent, no data", Tasks: 4000, Layers: 1, Mean: 50 * time.Millisecond, Classes: one},
		{Name: "layers, small results", Tasks: 4000, Layers: 10, Deps: 2, Mean: 50 * time.Millisecond, Bytes: 10 << 10, Classes: one},
		{Name: "layers, 20 MB results", Tasks: 4000, Layers: 10, Deps: 2, Mean: 50 * time.Millisecond, Bytes: 20 << 20, Classes: one},
		{Name: "layers, 200 MB results", Tasks: 2000, Layers: 10, Deps: 2, Mean: 200 * time.Millisecond, Bytes: 200 << 20, Classes: one},
		{Name: "mixed needs, 20 MB results", Tasks: 2000, Layers: 8, Deps: 2, Mean: 100 * time.Millisecond, Bytes: 20 << 20, Classes: mixed},
		{Name: "short tasks, small results", Tasks: 8000, Layers: 10, Deps: 2, Mean: 5 * time.Millisecond, Bytes: 1 << 10, Classes: one},
	}
}

// Nodes is the cluster of the comparison: 16 plain nodes, and 4 with GPUs.
func Nodes() (nodes []spec.Resources) {
	for range 16 {
		nodes = append(nodes, need(8, 0, 32))
	}
	for range 4 {
		nodes = append(nodes, need(8, 1, 64))
	}
	return nodes
}

// Compared are the policies, ours last.
func Compared() (names []string, policies []Policy) {
	return []string{"random", "least loaded", "hybrid", "ours"}, []Policy{&Random{}, &LeastLoaded{}, &Hybrid{}, &Ours{}}
}

// Ratios runs graphs of a shape under every policy: the mean of makespan over bound.
func Ratios(s Shape, graphs int, seed uint64) []float64 {
	_, policies := Compared()
	out := make([]float64, len(policies))
	for g := range graphs {
		tasks := s.Graph(rand.New(rand.NewPCG(seed, uint64(g))))
		bound := Bound(tasks, Nodes())
		for i, p := range policies {
			copied := append([]Task(nil), tasks...)
			took := Makespan(copied, Nodes(), p, rand.New(rand.NewPCG(seed, 1000+uint64(g))))
			out[i] += took.Seconds() / bound.Seconds() / float64(graphs)
		}
	}
	return out
}

// PrintQuality writes the comparison as a table of Markdown.
func PrintQuality(w io.Writer, graphs int) error {
	names, _ := Compared()
	head, line := "| graph |", "|---|"
	for _, n := range names {
		head, line = head+" "+n+" |", line+"---|"
	}
	if _, err := fmt.Fprintln(w, head+"\n"+line); err != nil {
		return err
	}
	for _, s := range Shapes() {
		row := fmt.Sprintf("| %s (%d tasks) |", s.Name, s.Tasks)
		for _, r := range Ratios(s, graphs, 1) {
			row += fmt.Sprintf(" %.2f |", r)
		}
		if _, err := fmt.Fprintln(w, row); err != nil {
			return err
		}
	}
	return nil
}
