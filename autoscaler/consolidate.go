package autoscaler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"ray/internal/spec"
)

// Consolidation makes a cluster cheaper while nothing waits: what runs on
// nodes that have long been at most half used is left to fewer or cheaper
// ones. No work is cut off for it: a node takes no new work and leaves when what
// it runs has ended. Where a cheaper machine has to be launched first, that
// happens in one round, and in a later one, when it is there and idle, the nodes
// whose work it can take are let go.

const (
	// CauseConsolidate is why a busy node leaves though nothing is wrong with it.
	CauseConsolidate Cause = "consolidation"
	// settledAge is how old a node must be: younger ones have not had their chance.
	settledAge = 10 * time.Minute
	// leastGain is the part of the price that a change must save to be worth it.
	leastGain = 0.2
	// useWithout is how long a node must be half empty where idle nodes stay for ever.
	useWithout = 5 * time.Minute
)

// Use is how little of a node was used, and since when.
type Use struct {
	Since time.Time
	Peak  spec.Resources // the most of each resource since then
}

// lump is what a half-empty node runs, which is kept together: nobody here
// knows what it consists of.
type lump struct {
	host  host
	bin   *bin
	shape *shape
	price float64
}

// consolidate lets half-empty nodes go, or launches what can replace them.
func (pl *planner) consolidate(p *packer) {
	quiet := len(pl.req.Demands)+len(pl.req.Groups)+len(pl.planned)+len(pl.reply.Terminations) == 0
	if !pl.req.Config.Consolidate || !quiet || slices.ContainsFunc(pl.offers, func(o *offer) bool { return o.flying > 0 }) {
		return
	}
	left := pl.disruptable()
	lumps := pl.lumps()
	if left <= 0 || len(lumps) == 0 {
		return
	}
	if !pl.pour(p, lumps, left) && !pl.moveToIdle(p, lumps, left) {
		pl.launchCheaper(p, lumps, left)
	}
}

// disruptable is how many nodes may be changed beside those that are.
func (pl *planner) disruptable() int {
	left := pl.req.Config.MaxDisrupted
	if left <= 0 {
		left = max(1, (len(pl.hosts)+3)/4)
	}
	for i := range pl.req.Instances {
		if pl.req.Instances[i].disrupted(pl.req.Now) {
			left--
		}
	}
	return left
}

// lumps are the nodes that may be given up, the dearest first. Their bins are
// filled up to the most that they were used.
func (pl *planner) lumps() []lump {
	bins := map[string]*bin{}
	for _, b := range pl.existing {
		bins[b.instance] = b
	}
	var out []lump
	for _, h := range pl.hosts {
		o, b := pl.byName[h.inst.NodeType], bins[h.inst.ID]
		use, half := pl.req.Use[h.inst.ID]
		if o == nil || b == nil || b.class != classBusy || !half || o.typ.Price <= 0 || pl.protected[h.inst.ID] ||
			h.inst.State != RayRunning || pl.req.Now.Sub(h.inst.Since()) < settledAge {
			continue
		}
		wait, ends := pl.req.Config.idleTimeout(o.name)
		if !ends {
			wait = useWithout
		}
		if pl.req.Now.Sub(use.Since) < wait {
			continue
		}
		// Its labels may be what its work asked for.
		s, ok := pl.shapeOf(spec.Demand{Resources: use.Peak, LabelSelector: o.typ.Labels, Count: 1, Kind: "task"})
		if !ok {
			continue
		}
		for i := range b.free {
			b.free[i] = min(b.free[i], b.total[i]-s.need[i])
		}
		out = append(out, lump{h, b, s, o.typ.Price})
	}
	slices.SortFunc(out, func(a, b lump) int {
		return cmp.Or(cmp.Compare(b.price, a.price), cmp.Compare(a.shape.key, b.shape.key), cmp.Compare(a.host.inst.ID, b.host.inst.ID))
	})
	return out
}

// spare tells whether the type can do without one more of its nodes.
func (o *offer) spare() bool { return o.count() > o.typ.Min }

// pour moves lumps into the room of nodes that stay in any case.
func (pl *planner) pour(p *packer, lumps []lump, left int) (moved bool) {
	avoid := map[*bin]bool{}
	for _, b := range p.bins {
		o := pl.byName[b.nodeType]
		stays := b.class <= classBusy || b.instance != "" && (pl.protected[b.instance] || o != nil && !o.spare())
		if b.class > classIdle || !stays {
			avoid[b] = true
		}
	}
	for _, l := range lumps {
		if left == 0 || l.bin.used || !pl.byName[l.bin.nodeType].spare() {
			continue // it has got another's work
		}
		avoid[l.bin] = true
		if to := p.placeApart(l.shape, avoid); to != nil {
			pl.giveUp(l, fmt.Sprintf("there is room on %s", to.name), l.price)
			moved = true
			left--
		} else {
			delete(avoid, l.bin)
		}
	}
	return moved
}

// moveToIdle moves lumps to idle nodes that are cheaper than what they replace
// and would end otherwise.
func (pl *planner) moveToIdle(p *packer, lumps []lump, left int) (moved bool) {
	for _, b := range p.bins {
		o := pl.byName[b.nodeType]
		if b.class != classIdle || o == nil || b.used || o.typ.Unpriced {
			continue
		}
		chosen, gain := pl.chosen(lumps, b.free, b.labels, o, left)
		if len(chosen) == 0 {
			continue
		}
		for _, l := range chosen {
			p.put(b, l.shape, 1)
			pl.giveUp(l, fmt.Sprintf("%s takes the place of %s", b.name, others(chosen)), gain)
		}
		return true
	}
	return false
}

// launchCheaper launches the node that saves most.
func (pl *planner) launchCheaper(p *packer, lumps []lump, left int) {
	var best *offer
	var moves []lump
	most := 0.0
	for _, o := range pl.offers {
		if o.block != nil || o.typ.Unpriced || pl.room(o) == 0 {
			continue
		}
		chosen, gain := pl.chosen(lumps, o.total, o.labels, o, left)
		if len(chosen) > 0 && gain > most+cent {
			best, moves, most = o, chosen, gain
		}
	}
	if best == nil {
		return
	}
	b := pl.newBin(best, fmt.Sprintf("%s, to take the place of %s and save %.4f per hour", reasonConsolidate, others(moves), most), true)
	p.bins = append(p.bins, b)
}

// chosen are the lumps that one empty node could take, as many as may be
// disrupted, and what that saves by the hour; none if it does not pay. A node
// with a GPU is not for what needs none.
func (pl *planner) chosen(lumps []lump, room vec, labels map[string]string, o *offer, left int) (out []lump, gain float64) {
	free, sum, gpu := slices.Clone(room), 0.0, false
	spare := map[string]int{}
	for _, l := range lumps {
		from := pl.byName[l.bin.nodeType]
		if len(out) == left || l.bin.used || free.fits(l.shape.need) == 0 || !matchLabels(labels, l.shape.selector) ||
			from != o && from.count()-spare[from.name] <= from.typ.Min {
			continue
		}
		spare[from.name]++
		free.sub(l.shape.need, 1)
		sum += l.price
		gpu = gpu || l.shape.gpu
		out = append(out, l)
	}
	gain = sum - o.typ.Price
	if len(out) == 0 || o.gpu && !gpu || gain < leastGain*sum+cent {
		return nil, 0
	}
	return out, gain
}

func (pl *planner) giveUp(l lump, how string, gain float64) {
	pl.stop(l.host, CauseConsolidate, fmt.Sprintf("at most half used for %s; %s, which saves %.4f per hour",
		pl.req.Now.Sub(pl.req.Use[l.host.inst.ID].Since).Round(time.Second), how, gain))
	pl.reply.Terminations[len(pl.reply.Terminations)-1].Gentle = true
}

// others names the nodes of lumps.
func others(lumps []lump) string {
	var names []string
	for _, l := range lumps {
		names = append(names, l.host.inst.ID)
	}
	return strings.Join(names, ", ")
}
