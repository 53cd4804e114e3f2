package autoscaler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ray/internal/spec"
)

// rig is everything a Reconciler works with, made up.
type rig struct {
	mu       sync.Mutex
	machines map[string]Machine
	nodes    map[string]*spec.Node // by machine
	demands  []spec.Demand
	rows     map[string]Instance
	memory   Memory
	events   []string
	calls    []string
	ids      int

	launchErr, saveErr, installErr error
	slow                           time.Duration // of launch and install
	panics                         bool
	refuse                         bool // drains
}

func newRig() *rig {
	return &rig{machines: map[string]Machine{}, nodes: map[string]*spec.Node{}, rows: map[string]Instance{}}
}

func (r *rig) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.slow):
		return nil
	}
}

func (r *rig) Launch(ctx context.Context, nodeType string, names []string, _ []spec.Offering) ([]Machine, []Attempt, error) {
	if err := r.pause(ctx); err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf("launch %d %s", len(names), nodeType))
	if r.panics {
		panic("a bug in the provider")
	}
	if r.launchErr != nil {
		return nil, nil, r.launchErr
	}
	var out []Machine
	for _, name := range names {
		m := Machine{ID: "m-" + name, Name: name, NodeType: nodeType, IP: "10.0.0.9"}
		r.machines[m.ID] = m
		out = append(out, m)
	}
	return out, nil, nil
}

func (r *rig) List(context.Context) ([]Machine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Machine
	for _, id := range sortedKeys(r.machines) {
		out = append(out, r.machines[id])
	}
	return out, nil
}

func (r *rig) Terminate(_ context.Context, ids []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.calls = append(r.calls, "terminate "+id)
		delete(r.machines, id)
		if n := r.nodes[id]; n != nil {
			n.State = spec.NodeDead
		}
	}
	return nil
}

func (r *rig) Stop(_ context.Context, ids []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.calls = append(r.calls, "stop "+id)
		m := r.machines[id]
		m.Stopped = true
		r.machines[id] = m
		if n := r.nodes[id]; n != nil {
			n.State = spec.NodeDead
		}
	}
	return nil
}

func (r *rig) EndHead(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, "end the head")
	return nil
}

func (r *rig) Install(ctx context.Context, inst Instance) error {
	if err := r.pause(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.installErr != nil {
		return r.installErr
	}
	total := spec.FromFloats(map[string]float64{"CPU": 1})
	n := &spec.Node{NodeInfo: spec.NodeInfo{ID: spec.NewNodeID(), Instance: inst.CloudID, NodeType: inst.NodeType, Total: total}, State: spec.NodeAlive, Available: total}
	r.nodes[inst.CloudID] = n
	return nil
}

func (r *rig) View(context.Context) (View, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := View{Demands: slices.Clone(r.demands)}
	for _, id := range sortedKeys(r.nodes) {
		v.Nodes = append(v.Nodes, *r.nodes[id])
	}
	return v, nil
}

func (r *rig) Drain(_ context.Context, d Drain) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, "drain ("+d.Reason+")")
	if r.refuse {
		return errors.New("it has work again")
	}
	for _, n := range r.nodes {
		if n.ID == d.Node {
			n.State = spec.NodeDead
		}
	}
	return nil
}

func (r *rig) Load(context.Context) (Saved, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Saved{Memory: r.memory}
	for _, id := range sortedKeys(r.rows) {
		out.Instances = append(out.Instances, r.rows[id])
	}
	return out, nil
}

func (r *rig) Save(_ context.Context, c Changes) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.saveErr != nil {
		return r.saveErr
	}
	for _, row := range c.Instances {
		r.rows[row.ID] = row
	}
	for _, id := range c.Removed {
		delete(r.rows, id)
	}
	if c.Memory != nil {
		r.memory = *c.Memory
	}
	return nil
}

func (r *rig) start(t *testing.T, max int) *Reconciler {
	t.Helper()
	rec, err := Start(t.Context(), Options{
		Config: Config{NodeTypes: map[string]NodeType{"cpu": {Resources: spec.FromFloats(map[string]float64{"CPU": 1}), Max: max}},
			MaxWorkers: max, UpscalingSpeed: 1, IdleTimeout: time.Minute},
		Provider: r, Installer: r, View: r, Drainer: r, Store: r,
		NewID: func(nodeType string) string { r.ids++; return fmt.Sprintf("%s-%d", nodeType, r.ids) },
		Emit:  func(e spec.Event) { r.set(func() { r.events = append(r.events, e.Message) }) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func (r *rig) demand(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.demands = nil
	if n > 0 {
		r.demands = []spec.Demand{{Resources: spec.FromFloats(map[string]float64{"CPU": 1}), Count: n, Kind: "task"}}
	}
}

// set changes the rig under its lock.
func (r *rig) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// seen is a copy of what the rig holds, for checks while the loop runs.
func (r *rig) seen() *rig {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &rig{
		machines: maps.Clone(r.machines), nodes: maps.Clone(r.nodes), rows: maps.Clone(r.rows),
		demands: slices.Clone(r.demands), events: slices.Clone(r.events), calls: slices.Clone(r.calls),
	}
}

// states lists the living instances as "cpu-1 RAY_RUNNING".
func states(rec *Reconciler) string {
	var out []string
	for _, i := range rec.Instances() {
		if !i.State.Terminal() {
			out = append(out, i.ID+" "+string(i.State))
		}
	}
	return strings.Join(out, ", ")
}

func wantStates(t *testing.T, rec *Reconciler, want string) {
	t.Helper()
	if got := states(rec); got != want {
		t.Errorf("instances: %q, want %q", got, want)
	}
}

// A machine's whole life: demand, launch, set-up, idle, drain, gone.
func TestReconcilerLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		rec := r.start(t, 3)
		defer rec.Close()
		time.Sleep(2 * time.Second)
		wantStates(t, rec, "")
		r.demand(1)
		begun := time.Now()
		rec.Wake()
		for states(rec) != "cpu-1 RAY_RUNNING" {
			time.Sleep(10 * time.Millisecond)
			if time.Since(begun) > 30*time.Second {
				t.Fatalf("no node after 30 s: %s", states(rec))
			}
		}
		if took := time.Since(begun); took > 300*time.Millisecond {
			t.Errorf("took %s although nothing in it is slow", took)
		}
		r.demand(0)
		r.set(func() { r.nodes["m-cpu-1"].IdleMS = 61_000 })
		time.Sleep(30 * time.Second)
		wantStates(t, rec, "")
		if len(r.seen().machines) > 0 {
			t.Errorf("machines left: %v", r.seen().machines)
		}
		meter := rec.Report().Meter
		for name, want := range map[string]float64{countStarted: 1, countStopped: 1, countUpdated: 1, countFailedUpdate: 0, countLoopErrors: 0, countCreateTime: 1} {
			if got, ok := meter.Counts[name]; got != want || !ok {
				t.Errorf("%s is %g, want %g", name, got, want)
			}
		}
		if meter.Counts[countRounds] == 0 {
			t.Error("no round was measured")
		}
		for _, want := range []string{"Adding 1 node(s) of type cpu.", "Removing 1 nodes of type cpu (idle)."} {
			if !slices.Contains(r.seen().events, want) {
				t.Errorf("no event %q in %q", want, r.seen().events)
			}
		}
	})
}

// A refused drain keeps the node and is not asked again at once.
func TestReconcilerRefusedDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.refuse = true
		rec := r.start(t, 3)
		defer rec.Close()
		r.demand(1)
		time.Sleep(5 * time.Second)
		r.demand(0)
		r.set(func() { r.nodes["m-cpu-1"].IdleMS = 61_000 })
		time.Sleep(25 * time.Second)
		wantStates(t, rec, "cpu-1 RAY_RUNNING")
		drains := 0
		for _, c := range r.seen().calls {
			if strings.HasPrefix(c, "drain") {
				drains++
			}
		}
		if drains != 1 {
			t.Errorf("%d drain calls in 25 s after a refusal, want 1", drains)
		}
	})
}

// While the table cannot be stored, no machine is asked for.
func TestReconcilerStoresBeforeItActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.saveErr = errors.New("disk full")
		rec := r.start(t, 3)
		defer rec.Close()
		r.demand(2)
		time.Sleep(10 * time.Second)
		if len(r.seen().calls) > 0 {
			t.Errorf("called %q before the table was stored", r.seen().calls)
		}
		r.set(func() { r.saveErr = nil })
		time.Sleep(5 * time.Second)
		wantStates(t, rec, "cpu-1 RAY_RUNNING, cpu-2 RAY_RUNNING")
		if !slices.ContainsFunc(r.seen().events, func(e string) bool { return strings.Contains(e, "disk full") }) {
			t.Errorf("nobody was told: %q", r.seen().events)
		}
	})
}

// A head that dies in the middle of launches and set-ups leaves neither
// doubles nor orphans to its successor.
func TestReconcilerRestart(t *testing.T) {
	for _, pause := range []time.Duration{100 * time.Millisecond, 3 * time.Second, 8 * time.Second, 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig()
			r.slow = 5 * time.Second
			r.demand(2)
			first := r.start(t, 2)
			time.Sleep(pause)
			first.Close()
			second := r.start(t, 2)
			defer second.Close()
			time.Sleep(3 * time.Minute)
			wantStates(t, second, "cpu-1 RAY_RUNNING, cpu-2 RAY_RUNNING")
			if len(r.seen().machines) != 2 {
				t.Errorf("closed after %s: machines %v", pause, r.seen().machines)
			}
		})
	}
}

// A machine of ours that nobody has a record of is adopted; one of a type
// that no longer exists is taken away.
func TestReconcilerUntracked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.demand(1)
		r.machines["m-1"] = Machine{ID: "m-1", Name: "lost-1", NodeType: "cpu"}
		r.machines["m-2"] = Machine{ID: "m-2", Name: "lost-2", NodeType: "gone"}
		rec := r.start(t, 2)
		defer rec.Close()
		time.Sleep(20 * time.Second)
		if _, ok := r.seen().machines["m-2"]; ok || len(r.seen().machines) == 0 {
			t.Errorf("machines %v", r.seen().machines)
		}
		if r.seen().nodes["m-1"] == nil {
			t.Error("the untracked machine was not set up")
		}
	})
}

// Capacity errors are waited out, longer and longer, and said in the report.
func TestReconcilerBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.launchErr = fmt.Errorf("%w in zone a", ErrCapacity)
		r.demand(1)
		rec := r.start(t, 3)
		defer rec.Close()
		time.Sleep(5 * time.Minute)
		if n := len(r.seen().calls); n < 3 || n > 7 {
			t.Errorf("%d launch calls in 5 minutes without capacity", n)
		}
		report := rec.Report()
		if len(report.Failures) == 0 || !strings.Contains(report.Failures[0].Details, "zone a") {
			t.Errorf("failures %+v", report.Failures)
		}
		if text, served := report.Explain(r.seen().demands[0]); !served || !strings.Contains(text, "no capacity in zone a") {
			t.Errorf("explains %q, %v", text, served)
		}
		r.set(func() { r.launchErr = nil })
		time.Sleep(11 * time.Minute)
		if !strings.HasSuffix(states(rec), "RAY_RUNNING") {
			t.Errorf("not recovered: %s", states(rec))
		}
	})
}

// Failed set-ups and a provider that panics end in failures, not in a dead
// loop or leaked machines.
func TestReconcilerFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.installErr = errors.New("setup command 2 of 3 ended with status 1")
		r.demand(1)
		rec := r.start(t, 3)
		defer rec.Close()
		time.Sleep(20 * time.Second)
		if f := rec.Report().Failures; len(f) == 0 || !strings.Contains(f[0].Details, "setup command 2 of 3") {
			t.Errorf("failures %+v", f)
		}
		r.set(func() { r.panics = true })
		time.Sleep(time.Minute)
		r.set(func() { r.panics, r.installErr = false, nil })
		time.Sleep(15 * time.Minute)
		if !strings.HasSuffix(states(rec), "RAY_RUNNING") || len(r.seen().machines) != 1 {
			t.Errorf("not recovered: %s, machines %v", states(rec), r.seen().machines)
		}
	})
}

// Close returns only when every goroutine has ended: synctest fails the test
// if one is left.
func TestReconcilerCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.slow = time.Hour
		r.demand(2)
		rec := r.start(t, 3)
		time.Sleep(time.Second)
		rec.Close()
		for _, row := range r.seen().rows {
			if row.State != Requested {
				t.Errorf("stored as %s, want REQUESTED: the launch was under way", row.State)
			}
		}
	})
}
