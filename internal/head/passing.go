package head

import (
	"ray/internal/gcs"
	"ray/internal/spec"
)

// passing gives the nodes on which nothing lives that does not end by itself:
// no actor, no bundle of a placement group, no driver.
func passing(nodes []spec.Node, actors []gcs.Actor, groups []gcs.Group, jobs []spec.Job) map[spec.NodeID]bool {
	out := make(map[spec.NodeID]bool, len(nodes))
	for i := range nodes {
		out[nodes[i].ID] = true
	}
	for i := range actors {
		if a := &actors[i].Info; a.State != spec.ActorDead {
			delete(out, a.NodeID)
		}
	}
	for i := range groups {
		for _, at := range groups[i].Info.Nodes {
			delete(out, at)
		}
	}
	for i := range jobs {
		if lives(&jobs[i]) {
			delete(out, jobs[i].NodeID)
		}
	}
	return out
}

func lives(j *spec.Job) bool { return j.Status == spec.JobPending || j.Status == spec.JobRunning }

// drivers counts the jobs that have not ended.
func drivers(jobs []spec.Job) (n int) {
	for i := range jobs {
		if lives(&jobs[i]) {
			n++
		}
	}
	return n
}
