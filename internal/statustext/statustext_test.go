package statustext

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ray/internal/spec"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func res(m map[string]float64) spec.Resources { return spec.FromFloats(m) }

func node(id byte, nodeType, instance string, idle int64, total, used map[string]float64, activity ...string) spec.Node {
	n := spec.Node{
		NodeInfo: spec.NodeInfo{ID: spec.NodeID{id}, NodeType: nodeType, Instance: instance, Total: res(total)},
		State:    spec.NodeAlive, Available: res(total), IdleMS: idle, Activity: activity,
	}
	n.Available.Sub(res(used))
	return n
}

func full() spec.Status {
	const gib = 1 << 30
	ms := time.Date(2023, 11, 14, 22, 13, 20, 250e6, time.UTC).UnixMilli()
	return spec.Status{
		TimeMS: ms,
		Nodes: []spec.Node{
			node(0xaa, "ray.head.default", "i-1", 0,
				map[string]float64{"CPU": 4, "memory": 5.6 * gib, "object_store_memory": 2.8 * gib, "node:10.0.0.1": 1, "node:__internal_head__": 1, "custom": 2.5},
				map[string]float64{"CPU": 1.5, "object_store_memory": 100 << 20, "custom": 0.25}, "Busy workers on node."),
			node(0xbb, "worker", "i-2", 0, map[string]float64{"CPU": 8, "GPU": 1, "accelerator_type:A100": 1}, map[string]float64{"CPU": 8, "GPU": 0.5}),
			node(0xcc, "worker", "i-3", 12345, map[string]float64{"CPU": 8}, nil),
			{NodeInfo: spec.NodeInfo{NodeType: "worker", Total: res(map[string]float64{"CPU": 8})}, State: spec.NodeDead},
		},
		Pending: []spec.PendingInstance{
			{NodeType: "worker", State: "REQUESTED"}, {NodeType: "worker", State: "QUEUED"}, {NodeType: "gpu_worker", State: "REQUESTED"},
			{ID: "i-4", NodeType: "worker", State: "ALLOCATED"}, {IP: "10.0.0.5", NodeType: "worker", State: "RAY_INSTALLING"},
		},
		Failures: []spec.Failure{
			{NodeType: "worker", Kind: "NodeTerminated", InstanceID: "i-6", TimeMS: ms - 9000, Details: "its node died: lost contact"},
			{NodeType: "worker", Kind: "LaunchFailed", TimeMS: ms - 1000, Details: "Insufficient capacity"},
		},
		GroupReserved: res(map[string]float64{"CPU": 2}), GroupUsed: res(map[string]float64{"CPU": 1}),
		Constraints: []spec.Demand{{Resources: res(map[string]float64{"CPU": 4}), Count: 2}},
		Demands: []spec.Demand{
			{Resources: res(map[string]float64{"CPU": 1}), Count: 4, Kind: "task", Reason: "no node has 1 CPU free"},
			{Resources: res(map[string]float64{"CPU": 0.5, "GPU": 8}), Count: 1, Kind: "task"},
			{Resources: res(map[string]float64{"CPU": 1}), Count: 3, Kind: "actor"},
			{Resources: spec.Resources{}, Count: 3, Kind: "actor"},
		},
		Infeasible: []spec.Demand{{Resources: res(map[string]float64{"CPU": 0.5, "GPU": 8}), Count: 1, Reason: "the nearest node type, worker, has only 1 of the 8 GPU"}},
		Groups: []spec.PlacementGroup{
			{Strategy: spec.StrictSpread, Bundles: []spec.Resources{res(map[string]float64{"CPU": 1}), res(map[string]float64{"CPU": 1})}},
			{Strategy: spec.StrictSpread, Bundles: []spec.Resources{res(map[string]float64{"CPU": 1}), res(map[string]float64{"CPU": 1})}, Reason: "2 bundles need a node each"},
			{Strategy: spec.Pack, Bundles: []spec.Resources{res(map[string]float64{"CPU": 1}), res(map[string]float64{"GPU": 1})}},
		},
		AutoStop:   &spec.AutoStop{Action: "down", IdleMS: 600_000, AtMS: ms + 90_000},
		HeadNotice: &spec.Drain{Message: "EC2 will terminate the spot instance", DeadlineMS: ms + 100_000},
		Backoffs:   []spec.Backoff{{What: "m5.large us-west-2a spot", UntilMS: ms + 90_000, Reason: "no capacity"}},
	}
}

func TestGolden(t *testing.T) {
	byHand := spec.Status{TimeMS: time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC).UnixMilli(),
		Nodes: []spec.Node{node(0xab, "", "", 0, map[string]float64{"CPU": 2, "memory": 500, "object_store_memory": 3 << 40}, map[string]float64{"memory": 100})}}
	for name, c := range map[string]struct {
		status  spec.Status
		options Options
	}{
		"empty":   {spec.Status{TimeMS: byHand.TimeMS}, Options{}},
		"full":    {full(), Options{}},
		"verbose": {full(), Options{Verbose: true, RequestTime: 927 * time.Microsecond, Now: time.UnixMilli(full().TimeMS + 1500)}},
		"byhand":  {byHand, Options{Verbose: true}},
	} {
		t.Run(name, func(t *testing.T) {
			c.options.Location = time.UTC
			got := RenderWith(c.status, c.options) + "\n"
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct {
		name string
		n    float64
		want string
	}{
		{"CPU", 4, "4.0"}, {"CPU", 0.5, "0.5"}, {"GPU", 0, "0.0"}, {"memory", 0, "0B"}, {"memory", 1023, "1023B"}, {"memory", 1536, "1.50KiB"},
		{"object_store_memory", 2.8 * (1 << 30), "2.80GiB"}, {"memory", 3 << 40, "3.00TiB"},
	} {
		if got := Amount(c.name, spec.ToFixed(c.n)); got != c.want {
			t.Errorf("%g %s: %q, want %q", c.n, c.name, got, c.want)
		}
	}
}

// A node that only a connected driver keeps is listed as idle, as upstream has it.
func TestDriverAlone(t *testing.T) {
	for _, c := range []struct {
		activity []string
		want     string
	}{
		{[]string{"1 driver is connected"}, "Active:\n (no active nodes)\nIdle:\n 1 head"},
		{[]string{"12 drivers are connected"}, "Active:\n (no active nodes)\nIdle:\n 1 head"},
		{[]string{"1 driver is connected", "1 task runs"}, "Active:\n 1 head\nIdle:\n (no idle nodes)"},
		{nil, "Active:\n 1 head\nIdle:\n (no idle nodes)"},
	} {
		node := spec.Node{State: spec.NodeAlive}
		node.NodeType, node.Activity = "head", c.activity
		lines := nodeLines(spec.Status{Nodes: []spec.Node{node}})
		if got := strings.Join(lines, "\n"); got != c.want {
			t.Errorf("%q: %s", c.activity, got)
		}
	}
}
