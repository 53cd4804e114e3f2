package statustext

import (
	"strings"
	"testing"

	"ray/internal/spec"
)

func TestWhy(t *testing.T) {
	node := spec.NodeID{0xab, 0xcd}
	s := spec.Status{
		Nodes: []spec.Node{{NodeInfo: spec.NodeInfo{ID: node, Instance: "i-1"}, State: spec.NodeAlive, Activity: []string{"2 tasks run or wait"}}},
		Tasks: []spec.TaskInfo{
			{ID: spec.TaskID{1, 2}, Name: "f", State: "PENDING_NODE_ASSIGNMENT", Resources: spec.FromFloats(map[string]float64{"GPU": 1})},
			{ID: spec.TaskID{1, 3}, Name: "g", State: "RUNNING", StartMS: 1, NodeID: node, WorkerPID: 7},
		},
		Actors:     []spec.ActorInfo{{ID: spec.ActorID{9, 9}, State: spec.ActorDead, Death: &spec.ErrorInfo{Message: "It was killed."}}},
		Groups:     []spec.PlacementGroup{{ID: spec.PlacementGroupID{8, 8}, Name: "pg", State: spec.PGPending, Reason: "busy"}},
		Infeasible: []spec.Demand{{Name: "f", Reason: "no node has a GPU"}},
		Jobs:       []spec.Job{{SubmissionID: "raysubmit_1", Status: spec.JobFailed, Message: "boom"}},
	}
	for id, want := range map[string]string{
		"0102": "needs {'GPU': 1.0}, is PENDING_NODE_ASSIGNMENT: no node has a GPU.", "g": "is RUNNING on node i-1, process 7.",
		"0909": "is DEAD: It was killed.", "PG": "is PENDING: busy.", "abcd": "2 tasks run or wait", "i-1": "2 tasks run or wait",
		"raysubmit_1": "is FAILED. boom", "ffff": "", "01": "",
	} {
		if got := strings.Join(Why(s, id), "\n"); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}
