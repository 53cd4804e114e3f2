package autoscaler

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

// request draws a random planning request.
func request(t *rapid.T) Request {
	req := Request{Now: time.Unix(5000, 0), Config: Config{
		NodeTypes: map[string]NodeType{}, MaxWorkers: rapid.IntRange(0, 25).Draw(t, "max_workers"),
		UpscalingSpeed: rapid.SampledFrom([]float64{0, 1, 3, Unlimited}).Draw(t, "speed"), IdleTimeout: time.Minute,
	}}
	for i := range rapid.IntRange(1, 4).Draw(t, "types") {
		typ := NodeType{Resources: shapeDraw(t, 16), Max: rapid.IntRange(0, 12).Draw(t, "max")}
		typ.Min = rapid.IntRange(0, min(typ.Max, 3)).Draw(t, "min")
		typ.Price = float64(rapid.IntRange(0, 3).Draw(t, "price"))
		if rapid.Bool().Draw(t, "labelled") {
			typ.Labels = map[string]string{"zone": rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone")}
		}
		req.Config.NodeTypes[fmt.Sprintf("t%d", i)] = typ
	}
	drawHosts(t, &req)
	for range rapid.IntRange(0, 6).Draw(t, "demands") {
		req.Demands = append(req.Demands, demandDraw(t, 30))
	}
	for range rapid.IntRange(0, 3).Draw(t, "constraints") {
		req.Constraints = append(req.Constraints, demandDraw(t, 5))
	}
	for range rapid.IntRange(0, 4).Draw(t, "groups") {
		g := spec.PlacementGroup{Strategy: rapid.SampledFrom([]string{spec.Pack, spec.Spread, spec.StrictPack, spec.StrictSpread}).Draw(t, "strategy")}
		for range rapid.IntRange(1, 4).Draw(t, "bundles") {
			g.Bundles = append(g.Bundles, shapeDraw(t, 8))
		}
		req.Groups = append(req.Groups, g)
	}
	return req
}

func shapeDraw(t *rapid.T, most int) spec.Resources {
	r := spec.Resources{spec.CPU: spec.ToFixed(float64(rapid.IntRange(1, most).Draw(t, "cpu")))}
	if rapid.IntRange(0, 3).Draw(t, "has_gpu") == 0 {
		r[spec.GPU] = spec.ToFixed(float64(rapid.IntRange(1, 4).Draw(t, "gpu")))
	}
	return r
}

func demandDraw(t *rapid.T, most int) spec.Demand {
	d := spec.Demand{Resources: shapeDraw(t, 8), Count: rapid.IntRange(0, most).Draw(t, "count"), Kind: "task"}
	if rapid.IntRange(0, 4).Draw(t, "selects") == 0 {
		d.LabelSelector = map[string]string{"zone": rapid.SampledFrom([]string{"a", "!a", "in(a,b)"}).Draw(t, "selector")}
	}
	return d
}

// drawHosts makes instances in any state, with nodes for the running ones.
func drawHosts(t *rapid.T, req *Request) {
	states := slices.Sorted(maps.Keys(edges))
	for i := range rapid.IntRange(0, 12).Draw(t, "hosts") {
		typ := fmt.Sprintf("t%d", rapid.IntRange(0, 4).Draw(t, "type")) // t4 never exists
		inst := instance(fmt.Sprintf("i%d", i), typ, rapid.SampledFrom(states).Draw(t, "state"), "")
		req.Instances = append(req.Instances, inst)
		if inst.State != RayRunning || rapid.IntRange(0, 9).Draw(t, "lost") == 0 {
			continue
		}
		total := req.Config.NodeTypes[typ].Resources
		n := spec.Node{NodeInfo: spec.NodeInfo{Instance: inst.CloudID, NodeType: typ, Total: total}, State: spec.NodeAlive, Available: total.Clone()}
		n.ID[0] = byte(i + 1)
		if rapid.Bool().Draw(t, "idle") {
			n.IdleMS = rapid.Int64Range(1, 200_000).Draw(t, "idle_ms")
		} else {
			for k := range n.Available {
				n.Available[k] = spec.Fixed(rapid.Int64Range(0, int64(total[k])).Draw(t, "free"))
			}
		}
		req.Nodes = append(req.Nodes, n)
	}
}

func TestPlanKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := request(t)
		reply := Plan(req)
		checkLimits(t, req, reply)
		checkTerminations(t, req, reply)
		checkInfeasible(t, req, reply)
		if again := Plan(req); fmt.Sprint(again) != fmt.Sprint(reply) {
			t.Fatalf("equal requests, unequal replies:\n%v\n%v", reply, again)
		}
	})
}

// alive counts instances by type and in all, as the limits count them.
func alive(req Request) (byType map[string]int, all int) {
	byType = map[string]int{}
	for _, i := range req.Instances {
		if !i.State.Terminal() {
			byType[i.NodeType]++
			all++
		}
	}
	return byType, all
}

func checkLimits(t *rapid.T, req Request, reply Reply) {
	byType, all := alive(req)
	launched := map[string]int{}
	queued := 0 // terminated without ever having existed
	for _, x := range reply.Terminations {
		for _, i := range req.Instances {
			if i.ID == x.InstanceID && i.State == Queued {
				queued++
			}
		}
	}
	total := 0
	for _, l := range reply.Launches {
		if l.Count <= 0 || l.Reason == "" {
			t.Fatalf("launch %+v", l)
		}
		launched[l.NodeType] += l.Count
		total += l.Count
	}
	for name, n := range launched {
		if byType[name]+n > req.Config.NodeTypes[name].Max {
			t.Fatalf("type %s: %d there, %d launched, max is %d", name, byType[name], n, req.Config.NodeTypes[name].Max)
		}
	}
	if total > 0 && all-queued+total > req.Config.MaxWorkers {
		t.Fatalf("%d workers there, %d launched, max_workers is %d", all, total, req.Config.MaxWorkers)
	}
	checkMinimum(t, req, reply, launched, all+total)
}

// checkMinimum: after the round a type has its minimum, or a limit is reached.
func checkMinimum(t *rapid.T, req Request, reply Reply, launched map[string]int, machines int) {
	ended := map[string]bool{}
	for _, x := range reply.Terminations {
		ended[x.InstanceID] = true
	}
	byType, _ := alive(req)
	for name, typ := range req.Config.NodeTypes {
		serving := launched[name]
		for _, i := range req.Instances {
			if i.NodeType == name && i.State.Serving() && !ended[i.ID] {
				serving++
			}
		}
		limited := byType[name]+launched[name] >= typ.Max || machines >= req.Config.MaxWorkers
		if serving < typ.Min && !limited {
			t.Fatalf("type %s: %d will serve, min_workers is %d, and no limit is reached", name, serving, typ.Min)
		}
	}
}

func checkTerminations(t *rapid.T, req Request, reply Reply) {
	idle := map[string]int64{}
	for _, n := range req.Nodes {
		idle[n.Instance] = n.IdleMS
	}
	seen := map[string]bool{}
	for _, x := range reply.Terminations {
		if seen[x.InstanceID] {
			t.Fatalf("%s is terminated twice", x.InstanceID)
		}
		seen[x.InstanceID] = true
		i := slices.IndexFunc(req.Instances, func(i Instance) bool { return i.ID == x.InstanceID })
		inst := req.Instances[i]
		if inst.State == RayRunning && idle[inst.CloudID] <= 0 {
			t.Fatalf("terminates the busy node %s (%s)", inst.ID, x.Reason)
		}
		if x.Cause == CauseIdle && time.Duration(idle[inst.CloudID])*time.Millisecond < req.Config.IdleTimeout {
			t.Fatalf("terminates %s before its timeout", inst.ID)
		}
	}
}

func checkInfeasible(t *rapid.T, req Request, reply Reply) {
	for _, i := range reply.Infeasible {
		if i.Reason == "" {
			t.Fatalf("no reason: %+v", i)
		}
		for name, typ := range req.Config.NodeTypes {
			if typ.Max > 0 && typ.Resources.Fits(i.Demand.Resources) && len(i.Demand.LabelSelector) == 0 {
				t.Fatalf("%v is called infeasible but type %s can hold it", i.Demand.Resources, name)
			}
		}
	}
	for _, w := range reply.Waiting {
		if w.Reason == "" || w.Demand.Count <= 0 {
			t.Fatalf("waits without a reason: %+v", w)
		}
	}
}

// What a plan launches is enough: with the new nodes in place the same demand
// launches nothing more and terminates nothing it launched.
func TestPlanSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := request(t)
		req.Config.UpscalingSpeed = Unlimited
		first := Plan(req)
		next := apply(req, first)
		second := Plan(next)
		if len(second.Launches) > 0 && noRoomWasFreed(first) {
			t.Fatalf("launches again under constant demand:\nfirst  %+v\nsecond %+v", first, second)
		}
		for _, x := range second.Terminations {
			if x.InstanceID[0] == 'n' {
				t.Fatalf("terminates %s, which it has just launched (%s)", x.InstanceID, x.Reason)
			}
		}
	})
}

// noRoomWasFreed: terminations let a second round launch what limits forbade.
func noRoomWasFreed(r Reply) bool { return len(r.Terminations) == 0 }

// apply lets the launches of a reply become instances on their way and its
// terminations end.
func apply(req Request, reply Reply) Request {
	ended := map[string]bool{}
	for _, x := range reply.Terminations {
		ended[x.InstanceID] = true
	}
	next := req
	next.Instances = nil
	for _, i := range req.Instances {
		if !ended[i.ID] {
			next.Instances = append(next.Instances, i)
		}
	}
	next.Nodes = slices.DeleteFunc(slices.Clone(req.Nodes), func(n spec.Node) bool { return ended[n.Instance] })
	for _, l := range reply.Launches {
		for range l.Count {
			// The ids say nothing of the order: they are made at random.
			i := instance(fmt.Sprintf("n%03d", 999-len(next.Instances)), l.NodeType, RayInstalling, "")
			i.History[0].TimeMS, i.Place = req.Now.UnixMilli(), len(next.Instances)
			next.Instances = append(next.Instances, i)
		}
	}
	return next
}

func TestMatchCondition(t *testing.T) {
	labels := map[string]string{"zone": "a", "empty": ""}
	for _, c := range []struct {
		key, condition string
		want           bool
	}{
		{"zone", "a", true}, {"zone", "b", false}, {"zone", "!a", false}, {"zone", "!b", true},
		{"zone", "in(a,b)", true}, {"zone", "in( b , c )", false}, {"zone", "!in(a,b)", false}, {"zone", "!in(c)", true},
		{"none", "a", false}, {"none", "!a", true}, {"none", "in(a)", false}, {"none", "!in(a)", true}, {"empty", "", true}, {"none", "", false},
	} {
		if got := matchCondition(labels, c.key, c.condition); got != c.want {
			t.Errorf("%s %q: %v, want %v", c.key, c.condition, got, c.want)
		}
	}
}

// A partly placed group asks only for the rest, and STRICT_PACK for the rest
// on the node where it began.
func TestPartlyPlacedGroups(t *testing.T) {
	node := spec.Node{NodeInfo: spec.NodeInfo{ID: spec.NodeID{7}, Instance: "i1", NodeType: "cpu", Total: spec.FromFloats(map[string]float64{"CPU": 2})}, State: spec.NodeAlive}
	node.Available = spec.FromFloats(map[string]float64{"CPU": 1})
	one := spec.FromFloats(map[string]float64{"CPU": 1})
	req := Request{Config: Config{NodeTypes: map[string]NodeType{"cpu": {Resources: node.Total, Max: 5}}, MaxWorkers: 5, UpscalingSpeed: 1, IdleTimeout: -1},
		Nodes: []spec.Node{node}, Instances: []Instance{instance("i1", "cpu", RayRunning, "")}}
	for strategy, want := range map[string]int{spec.StrictPack: 0, spec.Pack: 0, spec.StrictSpread: 1} {
		req.Groups = []spec.PlacementGroup{{Strategy: strategy, Bundles: []spec.Resources{one, one}, Nodes: []spec.NodeID{{7}, {}}}}
		launched := 0
		for _, l := range Plan(req).Launches {
			launched += l.Count
		}
		if launched != want {
			t.Errorf("%s: %d launched, want %d", strategy, launched, want)
		}
	}
	req.Nodes[0].Available = nil
	req.Groups[0].Strategy = spec.StrictPack
	if r := Plan(req); len(r.Launches) != 0 || len(r.Waiting) != 1 {
		t.Errorf("STRICT_PACK bound to a full node: %+v", r)
	}
}
