package autoscaler

import (
	"fmt"
	"time"

	"ray/internal/spec"
)

// Timing holds the manager's waits. Zero fields take their default.
type Timing struct {
	Request     time.Duration // an unanswered launch whose machine does not show up is asked again (60 s)
	Install     time.Duration // from the machine to its node (30 min)
	Drain       time.Duration // a node that was asked to drain must answer, then be gone (5 min each)
	Terminate   time.Duration // a machine must be gone after the provider agreed (5 min)
	Listing     time.Duration // a new machine may be missing from listings for as long (30 s)
	NodeGrace   time.Duration // nodes may take this long to come back after a head restart (60 s)
	Refused     time.Duration // a node that refused to drain is left alone for as long (30 s)
	BackoffBase time.Duration // after the first failed launch of a type, doubling (5 s)
	BackoffMax  time.Duration // longest wait after failures (10 min)
	Steady      time.Duration // a node that has run for as long has nothing to do with earlier ends (10 min)
	KeepEnded   time.Duration // rows of ended instances are kept for as long (10 min)
	// OfferingBase is how long an offering without capacity is left alone,
	// doubling (1 min).
	OfferingBase time.Duration
}

func (t Timing) withDefaults() Timing {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&t.Request, time.Minute)
	set(&t.Install, 30*time.Minute)
	set(&t.Drain, 5*time.Minute)
	set(&t.Terminate, 5*time.Minute)
	set(&t.Listing, 30*time.Second)
	set(&t.NodeGrace, time.Minute)
	set(&t.Refused, 30*time.Second)
	set(&t.BackoffBase, 5*time.Second)
	set(&t.BackoffMax, 10*time.Minute)
	set(&t.Steady, 10*time.Minute)
	set(&t.KeepEnded, 10*time.Minute)
	set(&t.OfferingBase, time.Minute)
	return t
}

const (
	maxAttempts = 3  // launch calls for one instance before it counts as failed
	maxFailures = 20 // recent failures kept for people
	maxRestarts = 3  // of a node on its machine, in a row
)

// View is what the cluster says about itself, taken at one time.
type View struct {
	Nodes       []spec.Node
	Demands     []spec.Demand
	Groups      []spec.PlacementGroup // not yet placed
	Constraints []spec.Demand         // request_resources
	Drivers     int                   // jobs that have not ended
	// Passing are the nodes on which nothing but tasks runs, which end by
	// themselves. Only Config.Consolidate needs it.
	Passing map[spec.NodeID]bool
}

// Machine is one machine as the provider sees it.
type Machine struct {
	ID         string `json:"id"`
	Name       string `json:"name"` // the instance ID given at launch, "" if unknown
	NodeType   string `json:"node_type"`
	IP         string `json:"ip,omitempty"`
	LaunchHash string `json:"launch_hash,omitempty"`
	Ending     bool   `json:"ending,omitempty"` // it exists, but not for long
	// Stopped: it does not run, and is kept for a launch to come.
	Stopped bool `json:"stopped,omitempty"`
}

// Listing is what the provider says exists. Begun is when it was asked: what
// happened later is not in it.
type Listing struct {
	Begun    time.Time
	Machines []Machine
}

// Observation is the input of one step.
type Observation struct {
	Now     time.Time
	View    View
	Listing *Listing // nil if there is none since the last step
	Results []Result // of actions that have ended
}

// Action kinds.
type ActionKind string

// What the shell is asked to do. Every action may be repeated after a restart
// of the head and must then have no further effect.
const (
	ActLaunch    ActionKind = "launch"    // make a machine named by the instance ID, for each instance
	ActInstall   ActionKind = "install"   // make a node of the machine
	ActDrain     ActionKind = "drain"     // ask the node to give up its work and leave
	ActTerminate ActionKind = "terminate" // take the machine away
	ActStop      ActionKind = "stop"      // keep the machine without running it
	ActEnd       ActionKind = "end"       // take the head's machine away, and this process with it
)

// Action is one thing to do for instances of one type. Install and drain name
// exactly one instance.
type Action struct {
	Kind      ActionKind
	NodeType  string
	Instances []Instance // copies
	Reason    string
	Ways      []spec.Offering // of a launch: what to try, in order
}

// Result is the outcome of an action. Machines are those that a launch made,
// which may be some although Err is set.
type Result struct {
	Action   Action
	Machines []Machine
	Attempts []Attempt // of a launch, in order
	Err      error
}

// Manager is the autoscaler without its effects: one Step for each
// observation. It is not safe for concurrent use.
type Manager struct {
	config Config
	timing Timing
	newID  func(nodeType string) string

	table     *Table
	started   time.Time
	now       time.Time
	under     map[string]ActionKind // instances with an action under way
	gone      map[string]time.Time  // termination agreed by the provider at
	seen      map[string]time.Time  // node of a running instance last seen at
	held      map[string]time.Time  // not to be stopped before
	retry     map[string]time.Time  // termination to be tried again at
	stands    map[string]time.Time  // when the machine was seen last
	installs  map[string]bool       // installed in this process's life
	use       map[string]Use        // of half-empty nodes, for Consolidate
	backoff   map[string]*Trial     // by node type
	ways      map[Way]*Trial        // by offering
	remember  bool                  // backoff, ways or failures have changed since they were stored
	failures  []spec.Failure
	reply     Reply
	planned   map[string]bool // demands of the last plan, by demandKey; never changed in place
	events    []spec.Event
	told      map[string]reminder // infeasible lines
	idleSince time.Time           // of the whole cluster, for AutoStop; zero while something runs
	ending    bool                // the cluster is being stopped
	size      string              // last "Resized to" text
	actions   []Action
	meter     Meter
	adding    counter
	removing  counter
	renewing  counter
}

// ManagerOptions configure a Manager.
type ManagerOptions struct {
	Config Config
	Timing Timing
	Rows   []Instance // as stored
	Memory Memory     // as stored
	Now    time.Time
	// NewID makes an instance ID that was never used before.
	NewID func(nodeType string) string
}

// NewManager makes a manager that continues from stored rows.
func NewManager(o ManagerOptions) *Manager {
	m := &Manager{
		config: o.Config, timing: o.Timing.withDefaults(), newID: o.NewID, started: o.Now, now: o.Now,
		under: map[string]ActionKind{}, gone: map[string]time.Time{}, seen: map[string]time.Time{},
		held: map[string]time.Time{}, retry: map[string]time.Time{}, stands: map[string]time.Time{}, installs: map[string]bool{}, use: map[string]Use{},
		backoff: map[string]*Trial{}, ways: map[Way]*Trial{}, told: map[string]reminder{}, meter: newMeter(),
	}
	m.recall(o.Memory)
	var notes []string
	m.table, notes = NewTable(o.Rows)
	for _, note := range notes {
		m.event("WARNING", note)
	}
	return m
}

// Table is the instance table, for storing and showing. The caller must not
// use it during a Step.
func (m *Manager) Table() *Table { return m.table }

// SetConfig replaces the configuration from the next step on.
func (m *Manager) SetConfig(c Config) { m.config = c }

// Step takes one observation and returns what to do. The caller stores the
// table's dirty rows before it performs the actions: a machine must never be
// asked for without a record of it.
func (m *Manager) Step(o Observation) []Action {
	m.now = o.Now
	m.actions, m.adding, m.removing, m.renewing = nil, counter{}, counter{}, counter{}
	nodes := indexNodes(o.View.Nodes)
	m.takeResults(o.Results, nodes)
	m.takeListing(o.Listing, nodes)
	m.takeNodes(nodes)
	m.checkTimeouts()
	if m.autoStop(&o.View) {
		m.end(o.Listing)
	} else if m.ready(o.View.Nodes) {
		m.plan(o.View)
	}
	m.act(nodes)
	m.table.Expire(m.now, m.timing.KeepEnded)
	m.forget()
	m.forgetTrials()
	m.tellChanges(o.View)
	return m.actions
}

// ready tells whether scaling may begin: the head machine's node is there, or
// the cluster has none to wait for.
func (m *Manager) ready(nodes []spec.Node) bool {
	if m.config.HeadType == "" {
		return true
	}
	for _, n := range nodes {
		if n.Head && n.State == spec.NodeAlive {
			return true
		}
	}
	return false
}

// move changes an instance's state. A change that the table refuses is said
// aloud and leaves the instance alone: one bad instance never stops the rest.
func (m *Manager) move(id string, next State, reason string) bool {
	if err := m.table.Move(m.now, id, next, reason); err != nil {
		m.event("ERROR", "Internal: "+err.Error())
		return false
	}
	if next == Terminated && m.table.Get(id).CloudID != "" {
		m.meter.add(countStopped, 1)
	}
	return true
}

func (m *Manager) event(severity, text string) {
	m.events = append(m.events, spec.Event{TimeMS: m.now.UnixMilli(), Severity: severity, Source: "autoscaler", Message: text})
}

// TakeEvents gives the events since the last call.
func (m *Manager) TakeEvents() []spec.Event {
	events := m.events
	m.events = nil
	return events
}

func (m *Manager) fail(nodeType, kind, instance, details string) {
	m.failures = append(m.failures, spec.Failure{
		NodeType: nodeType, Kind: kind, InstanceID: instance, TimeMS: m.now.UnixMilli(), Details: details,
	})
	if extra := len(m.failures) - maxFailures; extra > 0 {
		m.failures = append([]spec.Failure(nil), m.failures[extra:]...)
	}
	m.remember = true
}

// forget drops what was remembered of instances that are no longer there.
func (m *Manager) forget() {
	for _, memory := range []map[string]time.Time{m.gone, m.seen, m.held, m.retry, m.stands} {
		for id := range memory {
			if row := m.table.Get(id); id != headRow && (row == nil || row.State.Terminal()) {
				delete(memory, id)
			}
		}
	}
	for id := range m.installs {
		if row := m.table.Get(id); row == nil || row.State.Terminal() {
			delete(m.installs, id)
		}
	}
}

// describe names an instance for people.
func describe(i *Instance) string {
	if i.CloudID != "" && i.CloudID != i.ID {
		return fmt.Sprintf("%s (%s)", i.CloudID, i.NodeType)
	}
	return fmt.Sprintf("%s (%s)", i.ID, i.NodeType)
}
