package autoscaler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"ray/internal/spec"
)

// script is the state that the commands of a testdata file build up.
type script struct {
	req Request
}

// TestPlanScripts runs testdata/plan_*.txt. Commands (one a line, then plan):
//
//	type NAME min=N max=N RES=N... [label.KEY=VALUE] [price=N] [unpriced=1] [idle=DUR] [hash=H]
//	cluster max=N [cost=N] [speed=N] [idle=DUR] [consolidate] [disrupted=N]
//	node NAME TYPE RES=used/total ... [idle=DUR] [label.KEY=VALUE]   (RAY_RUNNING instance with its node)
//	     [hash=H] [rhash=H] [leaving=1] [why=LAUNCH_REASON] [age=DUR] [half=DUR]   (half used for as long)
//	head RES=used/total ...
//	instance NAME TYPE STATE
//	demand COUNT RES=N ... [label.KEY=CONDITION] [else=KEY:CONDITION]   (a second selector)
//	group STRATEGY RES=N,RES=N RES=N ...
//	constraint COUNT RES=N ...
//	blocked TYPE DUR
//	scarce TYPE PLACE DUR       (of a type with ways=PLACE,PLACE; a place that ends in * is spot)
func TestPlanScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if !strings.Contains(path, "plan_") {
			t.Skip("not a planner script")
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "plan" {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			s := script{Request{Now: time.Unix(1000, 0), Config: Config{NodeTypes: map[string]NodeType{}, MaxWorkers: 100, UpscalingSpeed: 1, IdleTimeout: time.Minute}}}
			for line := range strings.Lines(d.Input) {
				if fields := strings.Fields(line); len(fields) > 0 {
					if err := s.command(fields[0], fields[1:]); err != nil {
						d.Fatalf(t, "%s: %v", strings.TrimSpace(line), err)
					}
				}
			}
			return printReply(Plan(s.req))
		})
	})
}

// args splits words into key=value pairs and plain ones.
func args(words []string) (plain []string, named map[string]string) {
	named = map[string]string{}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			named[k] = v
		} else {
			plain = append(plain, w)
		}
	}
	return plain, named
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

// resourcesOf takes the upper-case and custom names among the pairs.
func resourcesOf(named map[string]string) spec.Resources {
	r := spec.Resources{}
	for k, v := range named {
		if strings.HasPrefix(k, "label.") || slices.Contains([]string{"min", "max", "price", "idle", "cost", "unpriced", "hash", "speed", "ways", "priority", "rhash", "cause", "leaving", "why", "age", "half", "else"}, k) {
			continue
		}
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			panic(err)
		}
		r[k] = spec.ToFixed(f)
	}
	return r
}

func labelsOf(named map[string]string) map[string]string {
	labels := map[string]string{}
	for k, v := range named {
		if key, ok := strings.CutPrefix(k, "label."); ok {
			labels[key] = v
		}
	}
	return labels
}

func (s *script) command(cmd string, words []string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	plain, named := args(words)
	switch cmd {
	case "type":
		s.addType(plain[0], named)
	case "cluster":
		if v, ok := named["max"]; ok {
			s.req.Config.MaxWorkers = number(v)
		}
		if v, ok := named["cost"]; ok {
			limit, _ := strconv.ParseFloat(v, 64)
			s.req.Config.MaxCost = &limit
		}
		if v, ok := named["speed"]; ok {
			s.req.Config.UpscalingSpeed, _ = strconv.ParseFloat(v, 64)
		}
		if v, ok := named["idle"]; ok {
			s.req.Config.IdleTimeout = duration(v)
		}
		if v, ok := named["disrupted"]; ok {
			s.req.Config.MaxDisrupted = number(v)
		}
		s.req.Config.SpendGPU = slices.Contains(plain, "spend_gpu")
		s.req.Config.Consolidate = slices.Contains(plain, "consolidate")
	case "head":
		s.addNode("head", "head", named)
	case "node":
		s.addNode(plain[0], plain[1], named)
		s.addInstance(plain[0], plain[1], RayRunning, named)
		if v, ok := named["half"]; ok {
			if s.req.Use == nil {
				s.req.Use = map[string]Use{}
			}
			used, _ := usedOf(&s.req.Nodes[len(s.req.Nodes)-1], s.req.Config.NodeTypes[plain[1]].Resources)
			s.req.Use[plain[0]] = Use{s.req.Now.Add(-duration(v)), used}
		}
	case "instance":
		s.addInstance(plain[0], plain[1], State(plain[2]), named)
	case "demand":
		s.req.Demands = append(s.req.Demands, demand(plain[0], named))
	case "constraint":
		s.req.Constraints = append(s.req.Constraints, demand(plain[0], named))
	case "group":
		s.addGroup(words)
	case "blocked":
		if s.req.Blocked == nil {
			s.req.Blocked = map[string]Block{}
		}
		s.req.Blocked[plain[0]] = Block{s.req.Now.Add(duration(plain[1])), "no capacity"}
	case "scarce":
		if s.req.Scarce == nil {
			s.req.Scarce = map[Way]Block{}
		}
		s.req.Scarce[wayOf(plain[0], way(plain[0], plain[1]))] = Block{s.req.Now.Add(duration(plain[2])), "none left"}
	default:
		return fmt.Errorf("unknown command %s", cmd)
	}
	return nil
}

func (s *script) addInstance(name, nodeType string, state State, named map[string]string) {
	i := instance(name, nodeType, state, named["hash"])
	i.RuntimeHash = named["rhash"]
	i.StopCause = map[string]Cause{"setup": CauseSetup, "consolidate": CauseConsolidate}[named["cause"]]
	i.LaunchReason = map[string]string{"demand": reasonDemand, "min": reasonMin}[named["why"]]
	if named["leaving"] != "" {
		i.State, i.StopCause = RayStopping, CausePreempted
		n := &s.req.Nodes[len(s.req.Nodes)-1]
		n.State, n.Drain = spec.NodeDraining, &spec.Drain{Reason: spec.DrainPreempted}
	}
	if v, ok := named["age"]; ok {
		i.History[0].TimeMS = s.req.Now.Add(-duration(v)).UnixMilli()
	}
	s.req.Instances = append(s.req.Instances, i)
}

func instance(name, nodeType string, state State, hash string) Instance {
	i := Instance{ID: name, NodeType: nodeType, State: state, LaunchHash: hash, History: []Change{{State: state}}}
	if state != Queued && state != Requested {
		i.CloudID = name
	}
	return i
}

func way(machine, place string) spec.Offering {
	zone, spot := strings.CutSuffix(place, "*")
	return spec.Offering{Type: machine, Place: zone, Spot: spot}
}

func demand(count string, named map[string]string) spec.Demand {
	d := spec.Demand{Count: number(count), Resources: resourcesOf(named), LabelSelector: labelsOf(named), Kind: "task"}
	if key, condition, ok := strings.Cut(named["else"], ":"); ok {
		d.Fallback = []map[string]string{{key: condition}}
	}
	return d
}

func (s *script) addType(name string, named map[string]string) {
	t := NodeType{Resources: resourcesOf(named), Labels: labelsOf(named), Max: 10, LaunchHash: named["hash"], RuntimeHash: named["rhash"]}
	if v, ok := named["min"]; ok {
		t.Min = number(v)
	}
	if v, ok := named["max"]; ok {
		t.Max = number(v)
	}
	if v, ok := named["price"]; ok {
		t.Price, _ = strconv.ParseFloat(v, 64)
	}
	t.Unpriced = named["unpriced"] != ""
	if v, ok := named["priority"]; ok {
		t.Priority = number(v)
	}
	if v, ok := named["ways"]; ok {
		for place := range strings.SplitSeq(v, ",") {
			t.Offerings = append(t.Offerings, way(name, place))
		}
	}
	if v, ok := named["idle"]; ok {
		idle := duration(v)
		t.IdleTimeout = &idle
	}
	s.req.Config.NodeTypes[name] = t
}

func (s *script) addNode(name, nodeType string, named map[string]string) {
	n := spec.Node{NodeInfo: spec.NodeInfo{NodeType: nodeType, Head: name == "head", Total: spec.Resources{}, Labels: labelsOf(named)}, State: spec.NodeAlive, Available: spec.Resources{}}
	copy(n.ID[:], name)
	if !n.Head {
		n.Instance = name
	}
	for k, v := range named {
		if used, total, ok := strings.Cut(v, "/"); ok {
			n.Total[k] = spec.ToFixed(float64(number(total)))
			n.Available[k] = n.Total[k] - spec.ToFixed(float64(number(used)))
		}
	}
	if v, ok := named["idle"]; ok {
		n.IdleMS = duration(v).Milliseconds()
	}
	s.req.Nodes = append(s.req.Nodes, n)
}

func (s *script) addGroup(words []string) {
	g := spec.PlacementGroup{Strategy: words[0], Name: fmt.Sprintf("g%d", len(s.req.Groups)+1)}
	for _, bundle := range words[1:] {
		_, named := args(strings.Split(bundle, ","))
		g.Bundles = append(g.Bundles, resourcesOf(named))
	}
	s.req.Groups = append(s.req.Groups, g)
}

func printReply(r Reply) string {
	var b strings.Builder
	for _, l := range r.Launches {
		fmt.Fprintf(&b, "launch %d %s (%s)\n", l.Count, l.NodeType, l.Reason)
		for _, way := range l.Ways {
			fmt.Fprintf(&b, "  by %s\n", way)
		}
	}
	for _, x := range r.Terminations {
		verb := "terminate"
		if x.Renew {
			verb = "renew"
		}
		if x.Gentle {
			verb = "gently " + verb
		}
		fmt.Fprintf(&b, "%s %s %s (%s: %s)\n", verb, x.InstanceID, x.NodeType, x.Cause, x.Reason)
	}
	for _, i := range r.Infeasible {
		fmt.Fprintf(&b, "infeasible %s %s * %d: %s\n", strings.TrimSpace(i.Kind+" "+i.Group), i.Demand.Resources, i.Demand.Count, i.Reason)
	}
	for _, w := range r.Waiting {
		fmt.Fprintf(&b, "waiting %s %s * %d: %s\n", strings.TrimSpace(w.Kind+" "+w.Group), w.Demand.Resources, w.Demand.Count, w.Reason)
		if w.Beyond {
			b.WriteString("  beyond limits\n")
		}
	}
	for _, k := range r.Kept {
		fmt.Fprintf(&b, "keep %s (%s)\n", k.InstanceID, k.Reason)
	}
	if b.Len() == 0 {
		return "nothing to do\n"
	}
	return b.String()
}
