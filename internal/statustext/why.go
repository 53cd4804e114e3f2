package statustext

import (
	"cmp"
	"fmt"
	"strings"

	"ray/internal/spec"
)

// Why explains what the id (or the beginning of one, or a name) stands for: a
// paragraph each for tasks, actors, placement groups, nodes, machines and jobs
// that match. It is empty if nothing does.
func Why(s spec.Status, id string) []string {
	w := &whyText{s: s, id: strings.ToLower(id)}
	for _, t := range s.Tasks {
		if w.means(t.ID.String(), t.Name) {
			w.task(t)
		}
	}
	for _, a := range s.Actors {
		if w.means(a.ID.String(), a.Options.Name) {
			w.actor(a)
		}
	}
	for _, g := range s.Groups {
		if w.means(g.ID.String(), g.Name) {
			w.say("Placement group %s (%s of %d bundles) is %s: %s.", cmp.Or(g.Name, g.ID.String()), g.Strategy, len(g.Bundles), g.State, cmp.Or(g.Reason, "it is being placed"))
		}
	}
	for _, n := range s.Nodes {
		if w.means(n.ID.String(), n.Instance) {
			w.node(n)
		}
	}
	for _, p := range s.Pending {
		if w.means(p.ID, "") {
			w.say("Machine %s of type %s is %s: %s.", p.ID, p.NodeType, p.State, cmp.Or(p.Reason, "it is on its way"))
		}
	}
	for _, j := range s.Jobs {
		if w.means(j.JobID.String(), j.SubmissionID) {
			w.say("Job %s is %s. %s", cmp.Or(j.SubmissionID, j.JobID.String()), j.Status, j.Message)
		}
	}
	return w.out
}

type whyText struct {
	s   spec.Status
	id  string
	out []string
}

func (w *whyText) say(format string, args ...any) {
	w.out = append(w.out, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// means tells whether the id was asked for; four digits are enough of one.
func (w *whyText) means(id, name string) bool {
	return w.id != "" && (strings.ToLower(name) == w.id || len(w.id) >= 4 && strings.HasPrefix(id, w.id))
}

func (w *whyText) task(t spec.TaskInfo) {
	if t.StartMS > 0 {
		w.say("Task %s (%s) is %s on node %s, process %d.", t.ID, t.Name, t.State, w.nodeName(t.NodeID), t.WorkerPID)
		return
	}
	reason := t.Reason
	for _, d := range append(w.s.Infeasible[:len(w.s.Infeasible):len(w.s.Infeasible)], w.s.Demands...) {
		if reason == "" && d.Name == t.Name && d.JobID == t.JobID {
			reason = d.Reason
		}
	}
	switch {
	case reason == "" && t.State == "PENDING_ARGS_AVAIL":
		reason = "the tasks that make its arguments have not ended"
	case reason == "" && t.State == "PENDING_ARGS_FETCH":
		reason = "its arguments are on their way to node " + w.nodeName(t.NodeID)
	case reason == "":
		reason = "it is in the queue of node " + w.nodeName(t.NodeID)
	}
	w.say("Task %s (%s), which needs %s, is %s: %s.", t.ID, t.Name, t.Resources, t.State, reason)
}

func (w *whyText) actor(a spec.ActorInfo) {
	name := cmp.Or(a.Options.Name, a.Options.ClassName)
	switch {
	case a.State == spec.ActorAlive:
		w.say("Actor %s (%s) is %s on node %s, process %d, after %d restarts.", a.ID, name, a.State, w.nodeName(a.NodeID), a.PID, a.Restarts)
	case a.Death != nil:
		w.say("Actor %s (%s) is %s: %s", a.ID, name, a.State, a.Death.Message)
	default:
		w.say("Actor %s (%s), which needs %s, is %s: %s.", a.ID, name, a.Resources, a.State, cmp.Or(a.Reason, w.starting(a)))
	}
}

// starting is for an actor that has a node: its constructor may wait there for
// its arguments or its environment, or run.
func (w *whyText) starting(a spec.ActorInfo) string {
	for _, t := range w.s.Tasks {
		if t.ActorID != a.ID || t.Type != "ACTOR_CREATION_TASK" {
			continue
		}
		if t.StartMS > 0 {
			return fmt.Sprintf("its constructor runs on node %s, process %d", w.nodeName(t.NodeID), t.WorkerPID)
		}
		if t.Reason != "" {
			return t.Reason
		}
	}
	return "it is being started"
}

func (w *whyText) node(n spec.Node) {
	switch {
	case n.State == spec.NodeDead:
		w.say("Node %s is %s: %s.", n.ID, n.State, n.DeathReason)
	case len(n.Activity) > 0:
		w.say("Node %s is %s: %s.", n.ID, n.State, strings.Join(n.Activity, "; "))
	default:
		w.say("Node %s is %s and has nothing to do.", n.ID, n.State)
	}
}

func (w *whyText) nodeName(id spec.NodeID) string {
	for _, n := range w.s.Nodes {
		if n.ID == id && n.Instance != "" {
			return n.Instance
		}
	}
	return id.String()[:8]
}
