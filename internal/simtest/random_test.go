package simtest

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"ray/autoscaler"
	"ray/internal/spec"
)

// amount is how many random schedules run.
var amount = flag.Int("schedules", 200, "random schedules to run; CI runs 10,000")

// first is the seed of the first of them.
var first = flag.Uint64("seed", 0, "seed of the first random schedule; the others follow")

func amounts(cpu, gpu float64) spec.Resources {
	return spec.FromFloats(map[string]float64{"CPU": cpu, "GPU": gpu})
}

func randomConfig(rnd *rand.Rand) autoscaler.Config {
	c := autoscaler.Config{NodeTypes: map[string]autoscaler.NodeType{}, HeadType: "head", MaxWorkers: 2 + rnd.IntN(12),
		UpscalingSpeed: []float64{0, 1, 2, autoscaler.Unlimited}[rnd.IntN(4)], IdleTimeout: time.Duration(10+rnd.IntN(120)) * time.Second}
	for i := range 1 + rnd.IntN(3) {
		t := autoscaler.NodeType{RuntimeHash: "first", LaunchHash: "first", Resources: amounts(float64(1+rnd.IntN(8)), 0), Max: 1 + rnd.IntN(8)}
		t.Min = rnd.IntN(2) * rnd.IntN(t.Max)
		c.NodeTypes[fmt.Sprintf("cpu%d", i)] = t
	}
	for name, t := range c.NodeTypes {
		if rnd.IntN(2) == 0 {
			for i := range 2 + rnd.IntN(3) {
				t.Offerings = append(t.Offerings, spec.Offering{Type: name, Place: fmt.Sprintf("zone-%d", i/2), Spot: i%2 == 0})
			}
		}
		t.Price = float64(t.Resources["CPU"]) / float64(spec.FixedScale)
		c.NodeTypes[name] = t
	}
	if rnd.IntN(4) == 0 {
		budget := 4 + rnd.Float64()*20
		c.MaxCost = &budget
	}
	c.MaxDisrupted = 1 + rnd.IntN(2)
	c.NodeTypes["gpu"] = autoscaler.NodeType{Price: 9.5, RuntimeHash: "first", LaunchHash: "first", Resources: amounts(4, 1), Max: 1 + rnd.IntN(3)}
	c.Consolidate = rnd.IntN(3) == 0
	return c
}

// TestRandomSchedules runs random clusters through random trouble, then calm,
// and wants every promise kept. A failing seed is printed, with what to run to
// see its whole story.
func TestRandomSchedules(t *testing.T) {
	t.Logf("seeds %d to %d", *first, *first+uint64(*amount)-1)
	shards := runtime.GOMAXPROCS(0)
	for shard := range shards {
		t.Run(fmt.Sprintf("shard%d", shard), func(t *testing.T) {
			t.Parallel()
			for i := shard; i < *amount; i += shards {
				seed := *first + uint64(i)
				if randomSchedule(t, seed, *amount == 1); t.Failed() {
					t.Fatalf("seed %d failed; alone: go test ./internal/simtest -run RandomSchedules -v -seed %d -schedules 1", seed, seed)
				}
			}
		})
	}
}

func randomSchedule(t *testing.T, seed uint64, verbose bool) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	chance := func(most float64) float64 { return float64(rnd.IntN(2)) * rnd.Float64() * most }
	faults := Faults{Capacity: chance(0.5), Lost: chance(0.3), Terminate: chance(0.3), Install: chance(0.3),
		NeverJoins: chance(0.1), CrashPerHour: chance(20), LossPerHour: chance(20), NoticePerHour: chance(20), Slowness: time.Duration(1+rnd.IntN(20)) * time.Second}
	w := NewWorld(seed, randomConfig(rnd), amounts(float64(rnd.IntN(3)), 0), faults)
	w.pace = func() time.Duration { return time.Duration(500+rnd.IntN(3500)) * time.Millisecond }
	defer func() {
		if verbose || t.Failed() {
			for _, e := range w.Events {
				t.Log(e)
			}
			t.Log(w.Table())
		}
	}()
	for range 3 + rnd.IntN(10) {
		trouble(rnd, w)
		w.Run(time.Duration(1+rnd.IntN(120)) * time.Second)
	}
	w.StartHead()
	w.Config.MaxCost = nil // what is promised of calm times is promised without a budget
	w.SetConfig(w.Config)
	w.Calm()
	settle(t, w)
	if seed%2 == 0 {
		endsItself(t, w, seed%4 == 0)
	}
}

// endsItself gives a calm cluster auto_stop: it ends whole, or, with keep, it
// stops and comes back with the machines that it had.
func endsItself(t *testing.T, w *World, keep bool) {
	w.tasks, w.Constraints = nil, nil
	for name, typ := range w.Config.NodeTypes {
		typ.Min, typ.Max = 1, 2
		w.Config.NodeTypes[name] = typ
	}
	w.Config.MaxWorkers, w.Config.AutoStop = 20, &autoscaler.AutoStop{Idle: 10 * time.Minute, Action: autoscaler.ActionDown}
	if keep {
		w.Config.AutoStop.Action = autoscaler.ActionStop
	}
	w.SetConfig(w.Config)
	w.Run(9 * time.Minute)
	if len(w.alive()) == 0 || w.Ended {
		t.Errorf("before its time: ended %t, machines: %s", w.Ended, w.Machines())
	}
	w.Run(30 * time.Minute)
	if !w.Ended || len(w.alive()) > 0 {
		t.Errorf("auto_stop: ended %t, machines left: %s", w.Ended, w.Machines())
	}
	if keep {
		comesBack(t, w)
	}
	for _, problem := range w.Trouble {
		t.Error(problem)
	}
}

// comesBack starts the head of a stopped cluster again, with another file: the
// machines that still fit are used, the others end.
func comesBack(t *testing.T, w *World) {
	kept, made := len(w.resting), w.launches
	stale := w.Config.NodeTypes["gpu"]
	stale.LaunchHash = "another"
	w.Config.NodeTypes["gpu"], w.Config.AutoStop = stale, nil
	w.StartHead()
	w.SetConfig(w.Config)
	w.Run(5 * time.Minute)
	least := len(w.Config.NodeTypes)
	if kept != least || len(w.alive()) != least || len(w.resting) != 0 || w.launches != made+1 {
		t.Errorf("%d machines were kept; now %d run, %d are stopped, %d were made: want %d, %d, 0, 1",
			kept, len(w.alive()), len(w.resting), w.launches-made, least, least)
	}
}

// trouble does one random thing.
func trouble(rnd *rand.Rand, w *World) {
	switch rnd.IntN(9) {
	case 0:
		w.StopHead()
		if rnd.IntN(2) == 0 {
			w.Run(time.Duration(rnd.IntN(90)) * time.Second)
		}
		w.StartHead()
	case 1:
		w.Constraints = []spec.Demand{{Resources: amounts(1, 0), Count: rnd.IntN(8)}}
	case 2:
		w.quota["cpu0"] = rnd.IntN(3)
	case 3:
		name := []string{"cpu0", "gpu"}[rnd.IntN(2)]
		if t := w.Config.NodeTypes[name]; rnd.IntN(2) == 0 {
			t.LaunchHash = fmt.Sprint("launch", rnd.IntN(3))
			w.Config.NodeTypes[name] = t
		} else {
			t.RuntimeHash = fmt.Sprint("set-up", rnd.IntN(3))
			w.Config.NodeTypes[name] = t
		}
		w.SetConfig(w.Config)
	case 4:
		for _, name := range slices.Sorted(maps.Keys(w.Config.NodeTypes)) {
			offerings := w.Config.NodeTypes[name].Offerings
			good := rnd.IntN(len(offerings) + 1) // always has machines
			for i, o := range offerings {
				w.dry[o] = i != min(good, len(offerings)-1) && rnd.IntN(2) == 0
			}
		}
	default:
		need := amounts(float64(1+rnd.IntN(4)), 0)
		if rnd.IntN(4) == 0 {
			need = amounts(1, 1)
		}
		for range 1 + rnd.IntN(15) {
			w.Submit(Task{need, time.Duration(1+rnd.IntN(100)) * time.Second})
		}
	}
}

// settle lets a calm cluster finish its work, and checks where it ends.
func settle(t *testing.T, w *World) {
	held := w.Constraints
	w.Constraints = nil
	w.Run(2 * time.Hour)
	w.tasks = onlyWaitingThatFit(w)
	if len(w.tasks) > 0 {
		t.Errorf("%d tasks that fit a type still wait after two calm hours; machines: %s", len(w.tasks), w.Machines())
	}
	w.Constraints = held
	w.Run(10 * time.Minute)
	for id, hash := range w.setUp {
		m := w.machines[id]
		want := w.Config.NodeTypes[m.NodeType]
		if !m.gone && (hash != want.RuntimeHash || m.LaunchHash != want.LaunchHash) {
			t.Errorf("%s was not changed: set up by %q, launched by %q; the file says %q, %q", id, hash, m.LaunchHash, want.RuntimeHash, want.LaunchHash)
		}
	}
	before := w.launches
	w.Run(time.Hour)
	if w.launches != before {
		t.Errorf("%d launches in an hour without any change", w.launches-before)
	}
	total := 0
	for name, typ := range w.Config.NodeTypes {
		total += typ.Min
		if n := w.count(name); n < typ.Min && len(w.alive()) < w.Config.MaxWorkers {
			t.Errorf("%d machines of type %s, min_workers is %d", n, name, typ.Min)
		}
	}
	w.Constraints = nil
	w.Run(time.Hour)
	if n := len(w.alive()); n > total {
		t.Errorf("%d machines without any work, min_workers add up to %d: %s", n, total, w.Machines())
	}
	for name, typ := range w.Config.NodeTypes {
		typ.Min, typ.Max = 0, 0
		w.Config.NodeTypes[name] = typ
	}
	w.SetConfig(w.Config)
	w.Trouble = append(w.Trouble[:len(w.Trouble):len(w.Trouble)], endWithout(w)...)
	for _, problem := range w.Trouble {
		t.Error(problem)
	}
}

// endWithout lets a cluster whose file allows no workers any more empty
// itself. That machines are over the maximum meanwhile is no broken promise.
func endWithout(w *World) []string {
	kept := w.Trouble
	w.Run(time.Hour)
	w.Trouble = kept
	if n := len(w.alive()); n > 0 {
		return []string{fmt.Sprintf("%d machines are left: %s", n, w.Machines())}
	}
	return nil
}

// onlyWaitingThatFit are the waiting tasks that some type can hold which
// min_workers leave room for.
func onlyWaitingThatFit(w *World) []*task {
	least := 0
	for _, typ := range w.Config.NodeTypes {
		least += typ.Min
	}
	var out []*task
	for _, t := range w.tasks {
		for name, typ := range w.Config.NodeTypes {
			room := typ.Max > 0 && (w.count(name) > 0 || least < w.Config.MaxWorkers)
			if t.node == "" && room && typ.Resources.Fits(t.Need) {
				out = append(out, t)
				break
			}
		}
	}
	return out
}
