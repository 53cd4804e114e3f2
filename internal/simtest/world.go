package simtest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"ray/autoscaler"
	"ray/internal/spec"
)

// Task is something that runs for a time on what it needs.
type Task struct {
	Need spec.Resources
	Runs time.Duration
}

type task struct {
	Task
	node string // machine it runs on, "" while it waits
}

// World is one simulated cluster.
type World struct {
	clock
	cloud
	Config  autoscaler.Config
	Events  []string // as "+12s text"
	Trouble []string // broken promises, see check

	start       time.Time
	manager     *autoscaler.Manager // nil while the head is down
	life        int                 // counts heads; answers to an earlier one are lost
	rows        map[string]autoscaler.Instance
	memory      autoscaler.Memory // as the store has it
	results     []autoscaler.Result
	nodes       map[string]*spec.Node // by machine
	setUp       map[string]string     // RuntimeHash of the node, by machine
	joined      int                   // nodes that ever joined
	hidden      map[string]bool       // nodes that have not re-registered with a new head
	busySince   map[string]time.Time
	tasks       []*task
	Done        int
	Ended       bool // by auto_stop
	Constraints []spec.Demand
	ids         int
	listed      time.Time
	calm        bool          // no faults any more
	quiet       time.Duration // in calm times, the next step's length if nothing happens until then
	// pace is how long a step lasts when it is not calm; nil means a second.
	pace func() time.Duration
}

// headID is the head machine's node; no instance stands for it.
const headID = "head"

// NewWorld makes a cluster of one head with the given resources.
func NewWorld(seed uint64, config autoscaler.Config, head spec.Resources, faults Faults) *World {
	start := time.Unix(1_000_000, 0)
	w := &World{
		clock: clock{now: start}, start: start, Config: config,
		cloud: cloud{rnd: rand.New(rand.NewPCG(seed, 7)), faults: faults, quota: map[string]int{}, dry: map[spec.Offering]bool{}, machines: map[string]*machine{}},
		rows:  map[string]autoscaler.Instance{}, nodes: map[string]*spec.Node{}, hidden: map[string]bool{}, setUp: map[string]string{}, busySince: map[string]time.Time{},
	}
	w.nodes[headID] = &spec.Node{
		NodeInfo: spec.NodeInfo{ID: spec.NodeID{255}, Head: true, NodeType: config.HeadType, Total: head},
		State:    spec.NodeAlive, Available: head.Clone(),
	}
	w.StartHead()
	return w
}

// StartHead makes a manager from the stored rows.
func (w *World) StartHead() {
	if w.manager != nil {
		return
	}
	w.life++
	w.Ended = false
	life := w.life
	var rows []autoscaler.Instance
	for _, id := range slices.Sorted(maps.Keys(w.rows)) {
		rows = append(rows, w.rows[id])
	}
	w.manager = autoscaler.NewManager(autoscaler.ManagerOptions{Config: w.Config, Rows: rows, Memory: w.memory, Now: w.now, NewID: func(nodeType string) string {
		w.ids++
		return fmt.Sprintf("%s-%03d", nodeType, w.ids)
	}})
	w.listed = time.Time{}
	for id := range w.nodes {
		if id != headID {
			w.hidden[id] = true
			w.after(w.wait(), func() {
				if life == w.life {
					delete(w.hidden, id)
				}
			})
		}
	}
}

// StopHead kills the head: what it had not stored and every answer under way
// is lost; machines, nodes and tasks go on.
func (w *World) StopHead() {
	w.manager, w.results = nil, nil
	w.life++
}

// SetConfig changes the cluster file.
func (w *World) SetConfig(c autoscaler.Config) {
	w.Config = c
	if w.manager != nil {
		w.manager.SetConfig(c)
	}
}

// Submit adds a task.
func (w *World) Submit(t Task) { w.tasks = append(w.tasks, &task{Task: t}) }

// quietMin and quietMax bound the steps of calm times.
const quietMin, quietMax = 15 * time.Second, 4 * time.Minute

// Run lets d pass, a step each second; in calm times, in which nothing happens
// by itself, a step after each thing that happens, and after waits that double
// while nothing does.
func (w *World) Run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		next := w.now.Add(time.Second)
		switch {
		case w.calm && len(w.results) == 0:
			next = w.now.Add(max(w.quiet, quietMin))
			w.quiet = min(2*w.quiet, quietMax)
			if len(w.queue) > 0 && w.queue[0].at.Before(next) {
				next = w.queue[0].at
			}
		case w.pace != nil && !w.calm:
			next = w.now.Add(w.pace())
		}
		passed := next.Sub(w.now)
		w.advance(next)
		w.accidents(passed)
		w.schedule()
		w.step()
		w.check()
	}
}

func (w *World) step() {
	if w.manager == nil {
		return
	}
	o := autoscaler.Observation{Now: w.now, View: w.view(), Results: w.results}
	w.results = nil
	if w.now.Sub(w.listed) >= 5*time.Second {
		w.listed = w.now
		o.Listing = &autoscaler.Listing{Begun: w.now, Machines: w.list(w.now)}
	}
	actions := w.manager.Step(o)
	changes := w.manager.Unsaved()
	for _, row := range changes.Instances {
		w.rows[row.ID] = row
	}
	for _, id := range changes.Removed {
		delete(w.rows, id)
	}
	if changes.Memory != nil {
		w.memory = *changes.Memory
	}
	w.manager.Stored()
	for _, e := range w.manager.TakeEvents() {
		w.Events = append(w.Events, fmt.Sprintf("+%s %s", w.now.Sub(w.start), e.Message))
		if strings.HasPrefix(e.Message, "Internal:") {
			w.broken("%s", e.Message)
		}
	}
	if len(actions) > 0 || !changes.Empty() || len(w.queue) > 0 {
		w.quiet = quietMin
	}
	for _, a := range actions {
		w.perform(a)
	}
}

// view is what the head's tables say.
func (w *World) view() autoscaler.View {
	v := autoscaler.View{Constraints: w.Constraints, Passing: map[spec.NodeID]bool{}}
	for _, id := range slices.Sorted(maps.Keys(w.nodes)) {
		if w.hidden[id] {
			continue
		}
		n := *w.nodes[id]
		n.Available = n.Available.Clone()
		n.IdleMS = 0
		if busy := w.busySince[id]; !w.runs(id) {
			n.IdleMS = max(1, w.now.Sub(busy).Milliseconds())
		}
		v.Nodes = append(v.Nodes, n)
		v.Passing[n.ID] = true
	}
	v.Demands = w.demands()
	return v
}

func (w *World) demands() []spec.Demand {
	var out []spec.Demand
	index := map[string]int{}
	for _, t := range w.tasks {
		if t.node != "" {
			continue
		}
		key := t.Need.Key()
		if _, ok := index[key]; !ok {
			index[key] = len(out)
			out = append(out, spec.Demand{Resources: t.Need, Kind: "task"})
		}
		out[index[key]].Count++
	}
	return out
}

func (w *World) runs(id string) bool {
	return slices.ContainsFunc(w.tasks, func(t *task) bool { return t.node == id })
}

// schedule places waiting tasks, first fit.
func (w *World) schedule() {
	ids := slices.Sorted(maps.Keys(w.nodes))
	for _, t := range w.tasks {
		for _, id := range ids {
			n := w.nodes[id]
			if t.node == "" && n.State == spec.NodeAlive && !w.hidden[id] && n.Available.Fits(t.Need) {
				n.Available.Sub(t.Need)
				t.node = id
				w.after(t.Runs, func() { w.finish(t, id) })
			}
		}
	}
}

func (w *World) finish(t *task, id string) {
	if t.node != id {
		return // its node died; it runs or waits elsewhere
	}
	w.nodes[id].Available.Add(t.Need)
	w.busySince[id] = w.now
	w.tasks = slices.DeleteFunc(w.tasks, func(other *task) bool { return other == t })
	w.Done++
	w.leaveIfIdle(id)
}

// accidents are what happens by itself.
func (w *World) accidents(passed time.Duration) {
	for _, id := range slices.Sorted(maps.Keys(w.nodes)) {
		if id == headID || w.nodes[id].State == spec.NodeDead {
			continue
		}
		switch {
		case w.chance(w.faults.LossPerHour * passed.Hours()):
			w.machineDies(id)
		case w.chance(w.faults.NoticePerHour * passed.Hours()):
			w.notice(id)
		case w.chance(w.faults.CrashPerHour * passed.Hours()):
			w.nodeDies(id, spec.DeathUnexpected)
		}
	}
}

func (w *World) broken(format string, args ...any) {
	w.Trouble = append(w.Trouble, fmt.Sprintf("+%s ", w.now.Sub(w.start))+fmt.Sprintf(format, args...))
}

// check looks for broken promises after each step.
func (w *World) check() {
	for name, t := range w.Config.NodeTypes {
		if n := w.count(name); n > t.Max {
			w.broken("%d machines of type %s, max_workers is %d", n, name, t.Max)
		}
	}
	if n := len(w.alive()); n > w.Config.MaxWorkers {
		w.broken("%d machines, max_workers is %d", n, w.Config.MaxWorkers)
	}
	if limit := w.Config.MaxCost; limit != nil && w.cost() > *limit+1e-6 {
		w.broken("machines cost %.4f per hour, max_cost_per_hour is %.4f", w.cost(), *limit)
	}
	if n, limit := w.disrupted(), w.Config.MaxDisrupted; limit > 0 && n > limit {
		w.broken("%d nodes are being changed at once, max_disrupted_workers is %d", n, limit)
	}
	names := map[string]string{}
	for _, m := range w.alive() {
		if other := names[m.Name]; other != "" {
			w.broken("launched %s twice: %s and %s", m.Name, other, m.ID)
		}
		names[m.Name] = m.ID
	}
}

// disrupted counts the nodes that a change of the file keeps from working,
// without those that have waited for long for the end of what they run.
func (w *World) disrupted() int {
	n := 0
	for _, row := range w.rows {
		changed := row.StopCause == autoscaler.CauseOutdated || row.StopCause == autoscaler.CauseSetup || row.StopCause == autoscaler.CauseConsolidate
		old := row.Gentle && w.now.Sub(row.Since()) >= 10*time.Minute
		if changed && !old && (row.State == autoscaler.RayStopRequested || row.State == autoscaler.RayStopping || row.State == autoscaler.RayInstalling) {
			n++
		}
	}
	return n
}

// cost is what the machines cost by the hour; the simulated head is free.
func (w *World) cost() float64 {
	sum := 0.0
	for _, m := range w.alive() {
		sum += w.Config.NodeTypes[m.NodeType].Price
	}
	return sum
}

// Calm ends all faults.
func (w *World) Calm() {
	w.faults = Faults{Slowness: w.faults.Slowness}
	w.quota = map[string]int{}
	w.calm = true
}
