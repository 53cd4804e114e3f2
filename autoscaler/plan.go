package autoscaler

import (
	"cmp"
	"maps"
	"slices"

	"ray/internal/spec"
)

// Plan decides one round of scaling. It is pure: equal requests give equal
// replies. The work grows with distinct shapes × nodes, not with the count of
// demands.
//
// Order: machines that must go (type removed, outdated, over a maximum); then
// min_workers, request_resources, placement groups (all or nothing), tasks and
// actors; then idle machines that none of these needs.
func Plan(req Request) Reply { return plan(req, false) }

func plan(req Request, alone bool) Reply {
	pl := newPlanner(&req)
	pl.alone = alone
	pl.stopUnwanted()
	pl.keepMinimum()
	pl.holdConstraints()
	p := newPacker(append(slices.Clone(pl.existing), pl.planned...))
	pl.replaceLeaving(p)
	pl.placeGroups(p)
	pl.placeDemands(p)
	pl.limitSpeed()
	pl.consolidate(p)
	pl.stopIdle()
	pl.reply.Launches = pl.launches()
	return pl.reply
}

// planner is the working state of one round.
type planner struct {
	req      *Request
	space    *space
	offers   []*offer // by name
	byName   map[string]*offer
	existing []*bin  // what is there or on its way
	planned  []*bin  // what this round launches
	workers  int     // machines that exist or will, against Config.MaxWorkers
	cost     float64 // by the hour, of all these and the head, against Config.MaxCost
	saved    float64 // part of cost that this round's terminations will save
	hosts    []host
	shapes   map[string]*shape
	largest  vec    // of each resource, the most that one node has
	leaving  []host // their machines will be taken away with what runs there
	// ending are the instances that this round terminates.
	ending map[string]bool
	// protected are the bins that request_resources needs, by bin name.
	protected map[string]bool
	hopeless  map[string]int // index in reply.Infeasible
	reply     Reply
	fixed     []*spec.Node // nodes that are not this autoscaler's
	alone     bool         // a round within a round, see beyondLimits
}

// host is an instance with its node, if it has one that takes work.
type host struct {
	inst *Instance
	node *spec.Node // nil if it has not joined, drains or is lost
}

func newPlanner(req *Request) *planner {
	pl := &planner{
		req: req, space: &space{index: map[string]int{}}, byName: map[string]*offer{},
		shapes: map[string]*shape{}, ending: map[string]bool{}, protected: map[string]bool{}, hopeless: map[string]int{},
	}
	pl.collectResources()
	learned := learnMemory(req)
	for _, name := range req.Config.typeNames() {
		pl.addOffer(name, learned[name])
	}
	pl.addHosts()
	pl.largest = make(vec, len(pl.space.names))
	for i := range pl.largest {
		for _, o := range pl.offers {
			pl.largest[i] = max(pl.largest[i], o.total[i])
		}
		for _, b := range pl.existing {
			pl.largest[i] = max(pl.largest[i], b.total[i])
		}
	}
	return pl
}

// collectResources numbers every resource that something needs. What no
// demand names cannot decide anything and is left out, except the resources
// of node types, which the score looks at.
func (pl *planner) collectResources() {
	for _, name := range pl.req.Config.typeNames() {
		pl.space.add(pl.req.Config.NodeTypes[name].Resources)
	}
	for _, demands := range [][]spec.Demand{pl.req.Demands, pl.req.Constraints} {
		for _, d := range demands {
			pl.space.add(d.Resources)
		}
	}
	for _, g := range pl.req.Groups {
		for _, b := range g.Bundles {
			pl.space.add(b)
		}
	}
}

// learnMemory gives for each type the memory that its nodes turned out to
// have. Cluster files mostly leave it to the nodes to find out.
func learnMemory(req *Request) map[string]spec.Resources {
	learned := map[string]spec.Resources{}
	for _, n := range req.Nodes {
		if n.State != spec.NodeAlive || learned[n.NodeType] != nil {
			continue
		}
		found := spec.Resources{}
		for _, name := range []string{spec.Memory, spec.ObjectStoreMemory} {
			if _, declared := req.Config.NodeTypes[n.NodeType].Resources[name]; !declared && n.Total[name] > 0 {
				found[name] = n.Total[name]
			}
		}
		learned[n.NodeType] = found
	}
	return learned
}

func (pl *planner) addOffer(name string, learned spec.Resources) {
	typ := pl.req.Config.NodeTypes[name]
	if len(learned) > 0 {
		all := learned.Clone()
		all.Add(typ.Resources)
		typ.Resources = all
	}
	labels := typeLabels(name, typ)
	o := &offer{name: name, typ: typ, total: pl.space.vec(typ.Resources), labels: labels, gpu: typ.Resources[spec.GPU] > 0}
	if block, ok := pl.req.Blocked[name]; ok && block.Until.After(pl.req.Now) {
		o.block = &block
	}
	pl.chooseWays(o)
	pl.offers = append(pl.offers, o)
	pl.byName[name] = o
}

// addHosts makes a bin of every node that takes work and of every machine on
// its way, and counts instances by type.
func (pl *planner) addHosts() {
	byInstance := map[string]*spec.Node{}
	for i := range pl.req.Nodes {
		if n := &pl.req.Nodes[i]; n.Instance != "" && n.State != spec.NodeDead {
			byInstance[n.Instance] = n
		}
	}
	pl.cost += pl.req.Config.NodeTypes[pl.req.Config.HeadType].Price
	managed := map[spec.NodeID]bool{}
	for i := range pl.req.Instances {
		inst := &pl.req.Instances[i]
		if inst.State.Terminal() {
			continue
		}
		pl.count(inst.NodeType, 1)
		node := byInstance[inst.CloudID]
		if inst.CloudID == "" {
			node = nil
		}
		if node != nil {
			managed[node.ID] = true
		}
		pl.addHost(inst, node)
	}
	for i := range pl.req.Nodes {
		if n := &pl.req.Nodes[i]; n.State == spec.NodeAlive && !managed[n.ID] {
			pl.fixed = append(pl.fixed, n)
			pl.addNodeBin(n, &Instance{NodeType: n.NodeType, History: []Change{{TimeMS: n.StartMS}}}, classFixed)
		}
	}
}

func (pl *planner) addHost(inst *Instance, node *spec.Node) {
	o := pl.byName[inst.NodeType]
	if !inst.State.Serving() {
		pl.saved += pl.req.Config.NodeTypes[inst.NodeType].Price
		if o != nil {
			o.stopping++
			if inst.Returns() {
				o.returning++
			}
			if inst.StopCause == CausePreempted && node != nil && node.State == spec.NodeDraining {
				pl.leaving = append(pl.leaving, host{inst, node})
			}
		}
		return
	}
	if node != nil && node.State != spec.NodeAlive {
		node = nil
	}
	pl.hosts = append(pl.hosts, host{inst, node})
	if o != nil {
		if inst.State == RayRunning {
			o.running++
		} else {
			o.flying++
		}
	}
	switch {
	case node != nil && node.IdleMS > 0:
		pl.addNodeBin(node, inst, classIdle)
	case node != nil:
		pl.addNodeBin(node, inst, classBusy)
	case inst.State.InFlight() && o != nil:
		pl.existing = append(pl.existing, &bin{
			name: inst.ID, instance: inst.ID, nodeType: inst.NodeType, class: classInFlight, born: inst.History[0].TimeMS, place: inst.Place,
			total: o.total, free: slices.Clone(o.total), labels: o.labels, gpu: o.gpu,
		})
	}
}

func (pl *planner) addNodeBin(n *spec.Node, inst *Instance, class int) {
	labels := n.Labels
	if labels[labelNodeGroup] == "" && inst.NodeType != "" {
		labels = maps.Clone(labels)
		if labels == nil {
			labels = map[string]string{}
		}
		labels[labelNodeGroup] = inst.NodeType
	}
	pl.existing = append(pl.existing, &bin{
		name: cmp.Or(inst.ID, n.ID.String()), instance: inst.ID, node: n.ID, nodeType: inst.NodeType, class: class, born: inst.History[0].TimeMS, place: inst.Place,
		total: pl.space.vec(n.Total), free: pl.space.vec(n.Available), labels: labels, gpu: n.Total[spec.GPU] > 0,
	})
}

// keepMinimum launches what min_workers asks for, all of it at once.
func (pl *planner) keepMinimum() {
	for _, o := range pl.offers {
		if o.block != nil {
			continue
		}
		for range min(o.typ.Min-o.count()-o.returning, pl.room(o)) {
			pl.newBin(o, reasonMin, true)
		}
	}
}

// placeDemands finds room for tasks and actors.
func (pl *planner) placeDemands(p *packer) {
	var wants []want
	for _, d := range pl.req.Demands {
		if d.Count <= 0 {
			continue
		}
		s, ok := pl.shapeOf(d)
		if !ok {
			pl.infeasible(KindDemand, "", d)
			continue
		}
		wants = append(wants, want{s, d.Count})
	}
	wants = pl.ordered(wants)
	fillAny(p, wants)
	pl.launchAny(p, wants, reasonDemand, false)
	for _, w := range wants {
		if w.count > 0 {
			pl.wait(KindDemand, "", w.shape, w.count, pl.holdReason(w.shape))
		}
	}
}

func (pl *planner) wait(kind, group string, s *shape, count int, reason string) {
	d := s.demand
	d.Count = count
	pl.reply.Waiting = append(pl.reply.Waiting, Waiting{Kind: kind, Demand: d, Group: group, Reason: reason})
}

// infeasible notes something that fits nowhere; equal demands are summed.
func (pl *planner) infeasible(kind, group string, d spec.Demand) {
	key := kind + "|" + group + "|" + demandKey(d)
	if at, ok := pl.hopeless[key]; ok {
		pl.reply.Infeasible[at].Demand.Count += d.Count
		return
	}
	pl.hopeless[key] = len(pl.reply.Infeasible)
	nearest, reason := pl.nearest(d, pl.space.vec(d.Resources), d.LabelSelector)
	pl.reply.Infeasible = append(pl.reply.Infeasible, Infeasible{Kind: kind, Demand: d, Group: group, Nearest: nearest, Reason: reason})
}
