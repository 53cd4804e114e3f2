package autoscaler

import (
	"time"

	"ray/internal/spec"
)

// Request is everything that one planning round may look at.
type Request struct {
	Now       time.Time
	Config    Config
	Instances []Instance // live ones; terminal rows are ignored
	Nodes     []spec.Node
	Demands   []spec.Demand
	// Groups are the placement groups that are not yet placed.
	Groups []spec.PlacementGroup
	// Constraints is the last request_resources call: room for all of it at
	// once is kept, whether or not anything runs.
	Constraints []spec.Demand
	// Use tells of nodes that were at most half used, by instance: of those alone
	// whose work ends by itself. Config.Consolidate looks at it.
	Use map[string]Use
	// Blocked names types that recently could not be launched and when they
	// may be tried again.
	Blocked map[string]Block
	// Scarce names offerings that lately had no capacity. A type whose offerings
	// are all scarce is not launched.
	Scarce map[Way]Block
}

// Block says that a type is not to be launched before Until.
type Block struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// Reply is what should be done. All lists are in a stable order.
type Reply struct {
	Launches     []Launch      `json:"launches,omitempty"`
	Terminations []Termination `json:"terminations,omitempty"`
	// Infeasible demands fit no node type and no node, even an empty one.
	Infeasible []Infeasible `json:"infeasible,omitempty"`
	// Waiting demands could be served, but not now: limits, backoff or
	// upscaling speed hold them back.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Kept says for each idle node that stays why it does.
	Kept []Kept `json:"kept,omitempty"`
}

// Launch asks for Count machines of a type.
type Launch struct {
	NodeType string `json:"node_type"`
	Count    int    `json:"count"`
	Reason   string `json:"reason"`
	// Ways are the offerings to try, in order; none if the type has none.
	Ways []spec.Offering `json:"ways,omitempty"`
}

// Cause of a termination; the words are those of the event line.
type Cause string

// Causes of a termination.
const (
	CauseIdle       Cause = "idle"
	CauseMaxWorkers Cause = "max number of worker nodes reached"
	CauseMaxPerType Cause = "max number of worker nodes per type reached"
	CauseBudget     Cause = "over max_cost_per_hour"
	CauseOutdated   Cause = "outdated"
	CauseRemoved    Cause = "node type removed"
	CauseSetup      Cause = "set-up changed"
	CausePreempted  Cause = "its machine is to be taken away"
	CauseDrained    Cause = "drained"
	CauseCrashed    Cause = "its node daemon ended" // of a restart
)

// Termination asks for one instance to be stopped.
type Termination struct {
	InstanceID string `json:"instance_id"`
	NodeType   string `json:"node_type"`
	Cause      Cause  `json:"cause"`
	Reason     string `json:"reason"`
	// Renew: the machine stays, its node is stopped and set up again.
	Renew bool `json:"renew,omitempty"`
	// Gentle: the node is busy; it takes no new work and goes when it is idle.
	Gentle bool `json:"gentle,omitempty"`
}

// What kind of thing waits.
const (
	KindDemand     = "demand"
	KindGroup      = "placement group"
	KindConstraint = "request_resources"
)

// Infeasible is something that can never be placed with this configuration.
type Infeasible struct {
	Kind   string      `json:"kind"`
	Demand spec.Demand `json:"demand"` // of a group: the bundle that fits nowhere
	Group  string      `json:"group,omitempty"`
	// Nearest is the type that comes closest, "" if there is none.
	Nearest string `json:"nearest,omitempty"`
	Reason  string `json:"reason"`
}

// Waiting is something that can be placed later.
type Waiting struct {
	Kind   string      `json:"kind"`
	Demand spec.Demand `json:"demand"` // Count is how many wait
	Group  string      `json:"group,omitempty"`
	Reason string      `json:"reason"`
	// Beyond tells of a group that the limits exclude whatever else ends; a
	// change of the cluster file or a node started by hand can still help it.
	Beyond  bool                  `json:"beyond,omitempty"`
	GroupID spec.PlacementGroupID `json:"-"`
}

// Kept is an idle node that is not terminated.
type Kept struct {
	InstanceID string `json:"instance_id"`
	Reason     string `json:"reason"`
}
