package pool

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

// groups drives a pool with placement groups that come and go, and classes
// that are kept and used again, as clients keep them.
type groups struct {
	p       *Pool
	now     int64
	here    map[byte]bool
	classes map[byte]*Class
	flight  map[*Task]*Worker
	added   int
	ended   int
}

func groupID(n byte) (id spec.PlacementGroupID) {
	id[0], id[1] = n, 1
	return id
}

func (g *groups) pump() {
	for es := g.p.Effects(); len(es) > 0; es = g.p.Effects() {
		for _, e := range es {
			switch e.Kind {
			case EffStart:
				g.p.Started(spec.NewWorkerID(), e.Key, g.now)
			case EffExec:
				g.flight[e.Task] = e.Worker
			}
		}
	}
}

func (g *groups) end(of func(*Task) bool) {
	for found := true; found; g.pump() {
		found = false
		for t, w := range g.flight {
			if of(t) && t == w.InFlight()[0] {
				delete(g.flight, t)
				g.now += 10
				g.p.Done(w, t.Seq, 10, g.now)
				g.ended++
				found = true
				break
			}
		}
	}
}

func (g *groups) leave(n byte) {
	c := g.classes[n]
	g.added -= len(g.p.TakeBack(c, c.Queued(), func(*Task) bool { return true }))
	g.end(func(t *Task) bool { return t.Class == c })
	g.p.ReturnBundle(groupID(n), 0, g.now)
	delete(g.here, n)
	g.pump()
}

// check: what a class counts with are the names that it asked for.
func (g *groups) check(t *rapid.T) {
	for c := range g.p.known {
		if len(c.need) != len(c.Need) {
			t.Fatalf("class %s counts with %d names", c.name, len(c.need))
		}
		for _, a := range c.need {
			if name := g.p.led.names[a.index]; c.Need[name] != a.n {
				t.Fatalf("class %s counts with %s of %q", c.name, a.n, name)
			}
		}
	}
	for task := range g.flight {
		if !g.p.known[task.Class] {
			t.Fatalf("class %s is forgotten while a task of it runs", task.Class.name)
		}
	}
}

func TestClassesOfGroupsThatAreGoneAreForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &groups{p: New(cpus(3)), now: 1, here: map[byte]bool{}, classes: map[byte]*Class{}, flight: map[*Task]*Worker{}}
		g.p.Class(Key{}, cpus(1), false, "")
		names := len(g.p.led.names)
		one := func(t *rapid.T) byte { return byte(rapid.IntRange(1, 4).Draw(t, "group")) }
		class := func(n byte) *Class {
			if g.classes[n] == nil {
				g.classes[n] = g.p.Class(Key{}, GroupResources(cpus(1), groupID(n), 0), false, "")
			}
			return g.classes[n]
		}
		t.Repeat(map[string]func(*rapid.T){
			"make": func(t *rapid.T) {
				n := one(t)
				if !g.here[n] && g.p.PrepareBundle(Bundle{Group: groupID(n), Resources: cpus(1), Of: 1}) == nil {
					g.here[n] = true
					if err := g.p.CommitBundle(groupID(n), 0, g.now); err != nil {
						t.Fatal(err)
					}
					g.pump()
				}
			},
			"remove": func(t *rapid.T) {
				if n := one(t); g.here[n] {
					class(n)
					g.leave(n)
				}
			},
			"template": func(t *rapid.T) {
				n := one(t)
				delete(g.classes, n) // other options, the same resources
				if g.p.Feasible(class(n)) != g.here[n] {
					t.Fatalf("group %d is here: %v; feasible: %v", n, g.here[n], !g.here[n])
				}
			},
			"add": func(t *rapid.T) {
				if n := one(t); g.p.Feasible(class(n)) {
					g.added++
					g.p.Add(&Task{Class: class(n)}, g.now)
					g.pump()
				}
			},
			"end":    func(*rapid.T) { g.end(func(*Task) bool { return true }) },
			"forget": func(*rapid.T) { g.p.ForgetClasses() },
			"":       g.check,
		})
		g.end(func(*Task) bool { return true })
		if g.added != g.ended {
			t.Errorf("%d tasks came, %d ran", g.added, g.ended)
		}
		for _, n := range slices.Collect(maps.Keys(g.here)) {
			class(n)
			g.leave(n)
		}
		g.p.ForgetClasses()
		if len(g.p.known) != 1 || len(g.p.classes) != 1 || len(g.p.led.index) > names {
			t.Errorf("%d classes and the names %v are left", len(g.p.known), g.p.led.index)
		}
		if got := g.p.Available(); got[spec.CPU] != 3*spec.FixedScale || len(got) != 1 {
			t.Errorf("available %v", got)
		}
	})
}
