package autoscaler

import (
	"fmt"
	"time"
)

// A change of the cluster file reaches the workers a few at a time. Machines
// that would be launched in another way now are replaced; those whose files or
// commands have changed stay, and their nodes are set up anew. Idle nodes are
// first; a busy one takes no new work and is changed when what it runs has ended.

// patience is how long a node that waits for the end of its work counts as
// disrupted: work that never ends must not stop the others from being changed.
const patience = 10 * time.Minute

// disrupted tells whether a change, or consolidation, is at the instance now.
func (i *Instance) disrupted(now time.Time) bool {
	if i.StopCause != CauseOutdated && i.StopCause != CauseSetup && i.StopCause != CauseConsolidate || i.State.Terminal() {
		return false
	}
	return i.State != RayRunning && !(i.State == RayStopping && i.Gentle && now.Sub(i.Since()) >= patience)
}

// Returns tells whether the instance's machine stays, and its node comes back.
func (i *Instance) Returns() bool {
	return i.Renew && (i.State == RayStopRequested || i.State == RayStopping || i.State == RayStopped)
}

// outdated says what has changed for an instance: "" if nothing has.
func outdated(inst *Instance, typ *NodeType) Cause {
	differ := func(have, want string) bool { return have != "" && want != "" && have != want }
	switch {
	case differ(inst.LaunchHash, typ.LaunchHash):
		return CauseOutdated
	case differ(inst.RuntimeHash, typ.RuntimeHash):
		return CauseSetup
	}
	return ""
}

// roll changes outdated nodes, as many as may be disrupted at once.
func (pl *planner) roll() {
	left := pl.disruptable()
	for _, h := range pl.hosts {
		o := pl.byName[h.inst.NodeType]
		if o == nil || left <= 0 || pl.ending[h.inst.ID] || h.inst.State != RayRunning || h.node == nil {
			continue
		}
		cause := outdated(h.inst, &o.typ)
		if cause == "" || o.block != nil || o.flying > 0 && cause == CauseOutdated {
			continue // what replaced the last one has to show that it works
		}
		left--
		reason := fmt.Sprintf("the launch configuration of type %s has changed", o.name)
		if cause == CauseSetup {
			reason = fmt.Sprintf("files or commands of type %s have changed", o.name)
			o.returning++
		}
		pl.stop(h, cause, reason)
		last := &pl.reply.Terminations[len(pl.reply.Terminations)-1]
		last.Renew, last.Gentle = cause == CauseSetup, h.idleFor() <= 0
	}
}
