package autoscaler

import (
	"fmt"
	"strings"
	"time"

	"ray/internal/spec"
)

// Why nodes are launched; the detail is added when the reply is made.
const (
	reasonMin        = "min_workers"
	reasonConstraint = "request_resources"
	reasonGroup      = "placement groups"
	reasonDemand     = "pending tasks and actors"
	reasonReplace    = "nodes whose machines are to be taken away"
	// of consolidation
	reasonConsolidate = "consolidation"
)

// limitSpeed drops launches for tasks and actors that upscaling_speed does
// not allow yet.
func (pl *planner) limitSpeed() {
	left := map[string]int{}
	for _, o := range pl.offers {
		left[o.name] = pl.req.Config.inFlightLimit(o.running) - o.flying
	}
	held := map[string]map[*shape]int{}
	kept := pl.planned[:0]
	for _, b := range pl.planned {
		if !b.bypass {
			left[b.nodeType]--
		}
		if b.bypass || left[b.nodeType] >= 0 {
			kept = append(kept, b)
			continue
		}
		pl.byName[b.nodeType].planned--
		if held[b.nodeType] == nil {
			held[b.nodeType] = map[*shape]int{}
		}
		for _, w := range b.holds {
			held[b.nodeType][w.shape] += w.count
		}
	}
	pl.planned = kept
	for _, o := range pl.offers {
		var wants []want
		for s, n := range held[o.name] {
			wants = append(wants, want{s, n})
		}
		for _, w := range pl.ordered(wants) {
			pl.wait(KindDemand, "", w.shape, w.count, fmt.Sprintf(
				"%d nodes of type %s are on their way, as many as upscaling_speed %g allows at once",
				o.flying+o.planned, o.name, pl.req.Config.UpscalingSpeed))
		}
	}
}

// launches sums the planned nodes by type and reason, in the order in which
// they were decided on: only so the next round fills them as this one did.
func (pl *planner) launches() []Launch {
	var out []Launch
	for left := pl.planned; len(left) > 0; {
		first, n := left[0], 0
		var holds []want
		for n < len(left) && left[n].nodeType == first.nodeType && left[n].reason == first.reason {
			holds = append(holds, left[n].holds...)
			n++
		}
		out = append(out, Launch{
			NodeType: first.nodeType, Count: n, Reason: first.reason + pl.holdsText(holds), Ways: pl.byName[first.nodeType].ways,
		})
		left = left[n:]
	}
	return out
}

// holdsText names the first few shapes that nodes are launched for.
func (pl *planner) holdsText(holds []want) string {
	var parts []string
	for _, w := range pl.ordered(holds) {
		if len(parts) == 3 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, fmt.Sprintf("%s * %d", w.shape.demand.Resources, w.count))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// chooseWays leaves out the offerings that lately had nothing. If there is no
// other, the type waits for the first of them.
func (pl *planner) chooseWays(o *offer) {
	var scarce *Block
	var when time.Time
	for _, way := range o.typ.Offerings {
		block, ok := pl.req.Scarce[wayOf(o.name, way)]
		if !ok || !block.Until.After(pl.req.Now) {
			o.ways = append(o.ways, way)
			continue
		}
		if scarce == nil || block.Until.Before(when) {
			when = block.Until
			scarce = &Block{when, fmt.Sprintf("none of its %d offerings has capacity; %s: %s", len(o.typ.Offerings), way, block.Reason)}
		}
	}
	if len(o.ways) == 0 && scarce != nil && (o.block == nil || o.block.Until.Before(when)) {
		o.block = scarce
	}
}

// replaceLeaving finds room for what runs on nodes whose machines will be taken
// away, so that it can go on at once when they are. What a node runs is kept
// together: nobody here knows what it consists of.
func (pl *planner) replaceLeaving(p *packer) {
	var wants []want
	for _, h := range pl.leaving {
		used, _ := usedOf(h.node, pl.byName[h.inst.NodeType].typ.Resources)
		if len(used) == 0 {
			continue
		}
		if s, ok := pl.shapeOf(spec.Demand{Resources: used, Count: 1, Kind: "task"}); ok {
			wants = append(wants, want{s, 1})
		}
	}
	if wants = pl.ordered(wants); len(wants) > 0 {
		p.fill(wants)
		pl.launch(p, wants, reasonReplace, true)
	}
}
