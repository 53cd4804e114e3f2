package autoscaler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// stop ends an instance in this round.
func (pl *planner) stop(h host, cause Cause, reason string) {
	pl.ending[h.inst.ID] = true
	if o := pl.byName[h.inst.NodeType]; o != nil {
		o.ending++
	}
	if h.inst.State == Queued {
		pl.count(h.inst.NodeType, -1)
	} else {
		pl.saved += pl.req.Config.NodeTypes[h.inst.NodeType].Price
	}
	pl.reply.Terminations = append(pl.reply.Terminations, Termination{
		InstanceID: h.inst.ID, NodeType: h.inst.NodeType, Cause: cause, Reason: reason,
	})
}

// stoppable tells whether an instance may be stopped now without breaking
// anything: it is not asked for yet, or it is a node that is idle. Machines on
// their way finish first; a call that is under way cannot be taken back.
func (h host) stoppable() bool {
	return h.inst.State == Queued || h.inst.State == Allocated && h.node == nil ||
		h.inst.State == RayRunning && h.node != nil && h.node.IdleMS > 0
}

// idleFor is how long the node has been idle, 0 if it is busy or not there.
func (h host) idleFor() time.Duration {
	if h.node == nil {
		return 0
	}
	return time.Duration(h.node.IdleMS) * time.Millisecond
}

// stopUnwanted ends machines whose type is gone or changed, and those over a
// maximum. Busy ones are left until they are idle.
func (pl *planner) stopUnwanted() {
	// What costs least to lose comes first: not yet asked for, then the
	// longest idle.
	slices.SortStableFunc(pl.hosts, func(a, b host) int {
		return cmp.Or(compareBool(b.inst.State.InFlight(), a.inst.State.InFlight()),
			cmp.Compare(b.idleFor(), a.idleFor()), cmp.Compare(b.inst.ID, a.inst.ID))
	})
	serving := len(pl.hosts)
	for _, h := range pl.hosts {
		o := pl.byName[h.inst.NodeType]
		if !h.stoppable() {
			continue
		}
		switch {
		case o == nil:
			pl.stop(h, CauseRemoved, fmt.Sprintf("node type %s is no longer in the cluster file", h.inst.NodeType))
		case h.node == nil && outdated(h.inst, &o.typ) == CauseOutdated:
			pl.stop(h, CauseOutdated, fmt.Sprintf("the launch configuration of type %s has changed", o.name))
		case o.count() > o.typ.Max:
			pl.stop(h, CauseMaxPerType, fmt.Sprintf("type %s has %d workers, max_workers is %d", o.name, o.count(), o.typ.Max))
		case serving-len(pl.ending) > pl.req.Config.MaxWorkers:
			pl.stop(h, CauseMaxWorkers, fmt.Sprintf("the cluster has %d workers, max_workers is %d",
				serving-len(pl.ending), pl.req.Config.MaxWorkers))
		case pl.overBudget(o):
			pl.stop(h, CauseBudget, fmt.Sprintf("the cluster costs %.4f per hour, max_cost_per_hour is %.2f",
				pl.cost-pl.saved, *pl.req.Config.MaxCost))
		}
	}
	pl.roll()
	pl.existing = slices.DeleteFunc(pl.existing, func(b *bin) bool { return b.instance != "" && pl.ending[b.instance] })
}

// stopIdle ends nodes that were idle for their timeout and that nothing
// needs, and says of the other idle ones why they stay.
func (pl *planner) stopIdle() {
	used := map[string]bool{}
	for _, b := range pl.existing {
		used[b.instance] = used[b.instance] || b.used
	}
	for _, h := range pl.hosts {
		o := pl.byName[h.inst.NodeType]
		if o == nil || pl.ending[h.inst.ID] || h.inst.State != RayRunning || h.idleFor() <= 0 {
			continue
		}
		timeout, ends := pl.req.Config.idleTimeout(o.name)
		keep := ""
		switch {
		case o.count()-o.planned <= o.typ.Min:
			keep = fmt.Sprintf("min_workers of type %s is %d", o.name, o.typ.Min)
		case pl.protected[h.inst.ID]:
			keep = "request_resources needs it"
		case used[h.inst.ID]:
			keep = "pending work will run on it"
		case joinedLately(h.inst, pl.req.Now):
			keep = "it has just joined for pending work"
		case !ends:
			keep = "idle nodes stay (idle timeout is off)"
		case h.idleFor() < timeout:
			keep = fmt.Sprintf("idle for %s of %s", h.idleFor().Round(time.Second), timeout)
		}
		if keep != "" {
			pl.reply.Kept = append(pl.reply.Kept, Kept{h.inst.ID, keep})
			continue
		}
		pl.stop(h, CauseIdle, fmt.Sprintf("idle for %s, timeout %s", h.idleFor().Round(time.Second), timeout))
	}
	slices.SortFunc(pl.reply.Kept, func(a, b Kept) int { return cmp.Compare(a.InstanceID, b.InstanceID) })
}

// joinHold is how long a node that was launched for work is kept for it after
// it has joined: the work may be between two places at that moment.
const joinHold = 10 * time.Second

func joinedLately(i *Instance, now time.Time) bool {
	forWork := strings.HasPrefix(i.LaunchReason, reasonDemand) || strings.HasPrefix(i.LaunchReason, reasonGroup) || strings.HasPrefix(i.LaunchReason, reasonReplace) ||
		strings.HasPrefix(i.LaunchReason, reasonConsolidate)
	return forWork && i.Restarts == 0 && now.Sub(i.Since()) < joinHold
}
