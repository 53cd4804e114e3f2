package simtest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"ray/autoscaler"
	"ray/internal/spec"
)

// TestScripts runs testdata/*.txt. A script is one cluster's story:
//
//	cluster [stop=DUR] [max=N] [idle=DUR] [speed=N] [slow=DUR]   (input: "type NAME CPU=N [GPU=N] [min=N] [max=N] [zones=A,B]" lines)
//	task N CPU=N [GPU=N] for=DUR       submit N tasks
//	request N CPU=N                    request_resources; 0 takes it back
//	quota TYPE N                       the cloud gives no more than N
//	dry TYPE ZONE yes|no               a zone has no machines of a type (given zones=A,B)
//	fault [capacity=P] [lost=P] [install=P] [terminate=P]
//	scarce                             what is not asked for at present
//	run DUR                            prints what was said meanwhile
//	lose TYPE                          a machine disappears
//	crash TYPE                         a node daemon ends
//	notice TYPE                        a machine will be taken away in two minutes
//	change TYPE launch|setup HASH      the cluster file is changed
//	head stop|start
//	show                               machines, tasks, table
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &story{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := s.command(d)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			if s.w != nil {
				for _, trouble := range s.w.Trouble {
					t.Errorf("%s: %s", d.Pos, trouble)
				}
			}
			return out
		})
	})
}

type story struct {
	w    *World
	said int // events printed
}

func (s *story) command(d *datadriven.TestData) (string, error) {
	plain, named := words(d)
	switch d.Cmd {
	case "cluster":
		return "", s.cluster(d.Input, named)
	case "task":
		n, runs := atoi(plain[0]), length(named["for"])
		for range n {
			s.w.Submit(Task{needs(named), runs})
		}
	case "request":
		s.w.Constraints = nil
		if n := atoi(plain[0]); n > 0 {
			s.w.Constraints = []spec.Demand{{Resources: needs(named), Count: n}}
		}
	case "quota":
		s.w.quota[plain[0]] = atoi(plain[1])
	case "dry":
		s.w.dry[spec.Offering{Type: plain[0], Place: plain[1]}] = plain[2] == "yes"
	case "scarce":
		return s.w.Backoffs(), nil
	case "fault":
		s.fault(named)
	case "run":
		s.w.Run(length(plain[0]))
		return s.events(), nil
	case "lose", "crash", "notice":
		return s.lose(d.Cmd, plain[0]), nil
	case "change":
		t := s.w.Config.NodeTypes[plain[0]]
		if plain[1] == "launch" {
			t.LaunchHash = plain[2]
		} else {
			t.RuntimeHash = plain[2]
		}
		s.w.Config.NodeTypes[plain[0]] = t
		s.w.SetConfig(s.w.Config)
	case "head":
		if plain[0] == "stop" {
			s.w.StopHead()
		} else {
			s.w.StartHead()
		}
	case "show":
		return s.w.head() + fmt.Sprintf("machines: %s\ntasks: %d done, %d wait, %d run\n%s", s.w.Machines(), s.w.Done, s.w.Waiting(), len(s.w.tasks)-s.w.Waiting(), s.w.Table()), nil
	default:
		return "", fmt.Errorf("unknown command %s", d.Cmd)
	}
	return "", nil
}

func words(d *datadriven.TestData) (plain []string, named map[string]string) {
	named = map[string]string{}
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			plain = append(plain, a.Key)
		} else {
			named[a.Key] = a.Vals[0]
		}
	}
	return plain, named
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func length(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

func needs(named map[string]string) spec.Resources {
	r := spec.Resources{}
	for _, name := range []string{"CPU", "GPU"} {
		if v, ok := named[name]; ok {
			r[name] = spec.ToFixed(float64(atoi(v)))
		}
	}
	return r
}

func (s *story) cluster(types string, named map[string]string) error {
	c := autoscaler.Config{NodeTypes: map[string]autoscaler.NodeType{}, HeadType: "head", MaxWorkers: 10, UpscalingSpeed: 1, IdleTimeout: time.Minute}
	if v, ok := named["max"]; ok {
		c.MaxWorkers = atoi(v)
	}
	if v, ok := named["idle"]; ok {
		c.IdleTimeout = length(v)
	}
	if v, ok := named["stop"]; ok {
		c.AutoStop = &autoscaler.AutoStop{Idle: length(v), Action: autoscaler.ActionDown}
		if named["action"] == autoscaler.ActionStop {
			c.AutoStop.Action = autoscaler.ActionStop
		}
	}
	c.Consolidate = named["consolidate"] == "yes"
	if v, ok := named["speed"]; ok {
		c.UpscalingSpeed = float64(atoi(v))
	}
	for line := range strings.Lines(types) {
		fields := strings.Fields(line)
		pairs := map[string]string{"min": "0", "max": "10"}
		for _, f := range fields[2:] {
			k, v, _ := strings.Cut(f, "=")
			pairs[k] = v
		}
		if fields[0] != "type" {
			return fmt.Errorf("unknown line %q", line)
		}
		t := autoscaler.NodeType{LaunchHash: "v1", RuntimeHash: "v1", Resources: needs(pairs), Min: atoi(pairs["min"]), Max: atoi(pairs["max"])}
		t.Price, _ = strconv.ParseFloat(pairs["price"], 64)
		for _, zone := range strings.FieldsFunc(pairs["zones"], func(r rune) bool { return r == ',' }) {
			t.Offerings = append(t.Offerings, spec.Offering{Type: fields[1], Place: zone})
		}
		c.NodeTypes[fields[1]] = t
	}
	faults := Faults{}
	if v, ok := named["slow"]; ok {
		faults.Slowness = length(v)
	}
	s.w, s.said = NewWorld(1, c, amounts(1, 0), faults), 0
	return nil
}

func (s *story) fault(named map[string]string) {
	f := Faults{Slowness: s.w.faults.Slowness}
	for name, p := range map[string]*float64{"capacity": &f.Capacity, "lost": &f.Lost, "install": &f.Install, "terminate": &f.Terminate, "never_joins": &f.NeverJoins} {
		if v, ok := named[name]; ok {
			*p, _ = strconv.ParseFloat(v, 64)
		}
	}
	s.w.faults = f
}

// events prints what was said since the last time.
func (s *story) events() string {
	said := s.w.Events[s.said:]
	s.said = len(s.w.Events)
	if len(said) == 0 {
		return "nothing said\n"
	}
	return strings.Join(said, "\n") + "\n"
}

func (s *story) lose(cmd, nodeType string) string {
	for _, m := range s.w.alive() {
		if m.NodeType != nodeType {
			continue
		}
		if cmd == "crash" {
			s.w.nodeDies(m.ID, spec.DeathUnexpected)
			return "the node on " + m.ID + " ended\n"
		}
		if cmd == "notice" {
			s.w.notice(m.ID)
			return m.ID + " will be taken away\n"
		}
		s.w.machineDies(m.ID)
		return "lost " + m.ID + "\n"
	}
	return "there is none\n"
}
