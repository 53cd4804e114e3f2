package dashboard

import (
	"strings"
	"testing"

	"ray/internal/spec"
)

func TestScalerMetrics(t *testing.T) {
	cpus := spec.FromFloats(map[string]float64{"CPU": 4, "node:10.0.0.1": 1})
	st := spec.Status{
		Autoscaling: true, SessionDir: "/tmp/ray/session_1",
		NodeTypes: []spec.NodeTypeStatus{{Name: "cpu", Resources: spec.FromFloats(map[string]float64{"CPU": 4})}},
		Nodes: []spec.Node{
			{NodeInfo: spec.NodeInfo{NodeType: "head", Head: true, Total: cpus}, State: spec.NodeAlive},
			{NodeInfo: spec.NodeInfo{NodeType: "cpu", Total: cpus}, State: spec.NodeAlive},
			{NodeInfo: spec.NodeInfo{NodeType: "cpu", Total: cpus}, State: spec.NodeDead},
		},
		Pending:      []spec.PendingInstance{{NodeType: "cpu", State: "RAY_INSTALLING", Again: true}, {NodeType: "cpu", State: "QUEUED"}},
		Failures:     []spec.Failure{{NodeType: "cpu", Kind: "LaunchFailed"}},
		ScalerCounts: map[string]float64{"started_nodes": 3, "update_time": 2}, ScalerSums: map[string]float64{"update_time": 0.5},
	}
	text := Metrics(st)
	for _, want := range []string{
		`autoscaler_active_nodes{SessionName="session_1",NodeType="cpu"} 1`,
		`autoscaler_pending_nodes{SessionName="session_1",NodeType="cpu"} 2`,
		`autoscaler_recently_failed_nodes{SessionName="session_1",NodeType="cpu"} 1`,
		`autoscaler_cluster_resources{SessionName="session_1",resource="CPU"} 8`,
		`autoscaler_pending_resources{SessionName="session_1",resource="CPU"} 8`,
		`autoscaler_updating_nodes{SessionName="session_1"} 1`,
		`autoscaler_recovering_nodes{SessionName="session_1"} 1`,
		`autoscaler_running_workers{SessionName="session_1"} 1`,
		"# TYPE autoscaler_started_nodes counter\nautoscaler_started_nodes{SessionName=\"session_1\"} 3",
		"# TYPE autoscaler_update_time summary\nautoscaler_update_time_sum{SessionName=\"session_1\"} 0.5\nautoscaler_update_time_count{SessionName=\"session_1\"} 2",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	st.Autoscaling = false
	if strings.Contains(Metrics(st), "autoscaler_") {
		t.Error("metrics of an autoscaler that is not there")
	}
}
