package autoscaler

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"ray/internal/spec"
)

// large makes a request with n nodes, 50 types, 10·n demands in 200 shapes
// and n/10 placement groups.
func large(n int) Request {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	req := Request{Now: time.Unix(1, 0), Config: Config{NodeTypes: map[string]NodeType{}, MaxWorkers: 10 * n, UpscalingSpeed: Unlimited, IdleTimeout: time.Minute}}
	var names []string
	pick := func(from ...float64) float64 { return from[rnd.IntN(len(from))] }
	for i := range 50 {
		r := map[string]float64{"CPU": pick(2, 4, 8, 16, 32, 64)}
		r["memory"] = r["CPU"] * pick(2, 4, 8) * (1 << 30)
		if i%3 == 0 {
			r["GPU"] = pick(1, 2, 4, 8)
		}
		names = append(names, fmt.Sprintf("type-%d", i))
		req.Config.NodeTypes[names[i]] = NodeType{Resources: spec.FromFloats(r), Max: n}
	}
	for i := range n {
		typ := names[rnd.IntN(len(names))]
		total := req.Config.NodeTypes[typ].Resources
		node := spec.Node{NodeInfo: spec.NodeInfo{Instance: fmt.Sprint("i", i), NodeType: typ, Total: total}, State: spec.NodeAlive, Available: total.Clone()}
		node.ID[0], node.ID[1] = byte(i), byte(i>>8)
		node.Available[spec.CPU] = total[spec.CPU] / spec.Fixed(1+rnd.IntN(8))
		req.Nodes = append(req.Nodes, node)
		req.Instances = append(req.Instances, instance(node.Instance, typ, RayRunning, ""))
	}
	for range 200 {
		r := map[string]float64{"CPU": pick(0.5, 1, 2, 4, 8)}
		if rnd.IntN(5) == 0 {
			r["GPU"] = pick(0.5, 1, 2)
		}
		if rnd.IntN(3) == 0 {
			r["memory"] = pick(1, 4, 16) * (1 << 30) * (1 + rnd.Float64())
		}
		req.Demands = append(req.Demands, spec.Demand{Resources: spec.FromFloats(r), Count: n / 20, Kind: "task"})
	}
	strategies := []string{spec.Pack, spec.Spread, spec.StrictPack, spec.StrictSpread}
	for i := range n / 10 {
		g := spec.PlacementGroup{Strategy: strategies[i%4]}
		for range 4 {
			g.Bundles = append(g.Bundles, spec.FromFloats(map[string]float64{"CPU": pick(1, 2, 4)}))
		}
		req.Groups = append(req.Groups, g)
	}
	return req
}

// BenchmarkPlan shows that a round grows with the nodes, not with their
// product with the demands.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{100, 300, 1000, 3000, 10000} {
		req := large(n)
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			measurePlan(b, req)
		})
	}
}

// BenchmarkPlanDemands has a thousand nodes and ever more demands, of as many
// shapes until there are 200: a round grows with the shapes, not with the demands.
func BenchmarkPlanDemands(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 100_000} {
		req := large(1000)
		shapes := min(n, len(req.Demands))
		req.Demands, req.Groups = req.Demands[:shapes], nil
		for i := range req.Demands {
			req.Demands[i].Count = n / shapes
		}
		b.Run(fmt.Sprintf("demands=%d", n), func(b *testing.B) {
			measurePlan(b, req)
		})
	}
}

// measurePlan also reports the processor's time, which other work on the
// machine leaves alone.
func measurePlan(b *testing.B, req Request) {
	before := processorTime(b)
	for b.Loop() {
		Plan(req)
	}
	b.ReportMetric(float64(processorTime(b)-before)/1e6/float64(b.N), "cpu-ms/op")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
