package autoscaler

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

// Machines with GPUs are not launched for what needs none while others do, and
// never more of them than there are things that need a GPU.
func TestPlanConservesGPUs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := Request{Now: time.Unix(1, 0), Config: Config{NodeTypes: map[string]NodeType{}, MaxWorkers: 10_000, UpscalingSpeed: Unlimited, IdleTimeout: -1}}
		for i := range rapid.IntRange(1, 3).Draw(t, "cpu types") {
			req.Config.NodeTypes[fmt.Sprint("cpu", i)] = NodeType{Max: 10_000, Price: rapid.Float64Range(0, 9).Draw(t, "price"), Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
				Resources: spec.FromFloats(map[string]float64{"CPU": float64(8 * (i + 1))})}
		}
		for i := range rapid.IntRange(1, 3).Draw(t, "gpu types") {
			req.Config.NodeTypes[fmt.Sprint("gpu", i)] = NodeType{Max: 10_000, Price: rapid.Float64Range(0, 9).Draw(t, "price"), Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
				Resources: spec.FromFloats(map[string]float64{"CPU": float64(8 * (i + 1)), "GPU": float64(int(4) >> i)})}
		}
		for range rapid.IntRange(1, 5).Draw(t, "demands") {
			req.Demands = append(req.Demands, spec.Demand{Kind: "task", Count: rapid.IntRange(1, 40).Draw(t, "count"),
				Resources: spec.FromFloats(map[string]float64{"CPU": float64(rapid.IntRange(1, 8).Draw(t, "CPU"))})})
		}
		needs := rapid.IntRange(0, 6).Draw(t, "need a GPU")
		if needs > 0 {
			req.Demands = append(req.Demands, spec.Demand{Kind: "task", Count: needs, Resources: spec.FromFloats(map[string]float64{"CPU": 1, "GPU": 1})})
		}
		reply := Plan(req)
		gpus := 0
		for _, l := range reply.Launches {
			if req.Config.NodeTypes[l.NodeType].Resources[spec.GPU] > 0 {
				gpus += l.Count
			}
		}
		if gpus > needs || len(reply.Waiting)+len(reply.Infeasible) > 0 {
			t.Fatalf("%d machines with GPUs for %d needs; launches %v, waiting %v, infeasible %v", gpus, needs, reply.Launches, reply.Waiting, reply.Infeasible)
		}
	})
}

// Of types that are alike the one with the highest priority is used up first,
// whatever they cost.
func TestPlanHeedsPriority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := Request{Now: time.Unix(1, 0), Config: Config{NodeTypes: map[string]NodeType{}, MaxWorkers: 10_000, UpscalingSpeed: Unlimited, IdleTimeout: -1}}
		most := 0
		n := rapid.IntRange(2, 5).Draw(t, "types")
		for i, priority := range rapid.Permutation([]int{0, 1, 2, 3, 4}[:n]).Draw(t, "priorities") {
			max := rapid.IntRange(1, 10).Draw(t, "max")
			most += max
			req.Config.NodeTypes[fmt.Sprint("t", i)] = NodeType{Max: max, Priority: priority, Price: rapid.Float64Range(0, 9).Draw(t, "price"),
				Resources: spec.FromFloats(map[string]float64{"CPU": 4})}
		}
		// Whole machines: a last one that is half empty may be of any type.
		count := rapid.IntRange(1, most).Draw(t, "machines")
		req.Demands = []spec.Demand{{Kind: "task", Count: 4 * count, Resources: spec.FromFloats(map[string]float64{"CPU": 1})}}
		reply := Plan(req)
		launched := map[string]int{}
		total := 0
		for _, l := range reply.Launches {
			launched[l.NodeType] += l.Count
			total += l.Count
		}
		if total != count {
			t.Fatalf("%d machines launched for the load of %d: %v", total, count, reply.Launches)
		}
		for a, typ := range req.Config.NodeTypes {
			for b, other := range req.Config.NodeTypes {
				if typ.Priority > other.Priority && launched[a] < typ.Max && launched[b] > 0 {
					t.Fatalf("%s (priority %d) has %d of %d, and %s (priority %d) is used: %v", a, typ.Priority, launched[a], typ.Max, b, other.Priority, reply.Launches)
				}
			}
		}
	})
}
