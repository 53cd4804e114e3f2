package spec

import (
	"encoding/json"
	"strings"
)

// Bundle placement strategies.
const (
	Pack         = "PACK"
	Spread       = "SPREAD"
	StrictPack   = "STRICT_PACK"
	StrictSpread = "STRICT_SPREAD"
)

// Placement group states, upstream's names.
const (
	PGPending      = "PENDING"
	PGPrepared     = "PREPARED"
	PGCreated      = "CREATED"
	PGRemoved      = "REMOVED"
	PGRescheduling = "RESCHEDULING"
)

// PlacementGroup is one row of the placement group table.
type PlacementGroup struct {
	ID        PlacementGroupID    `json:"placement_group_id"`
	Name      string              `json:"name"`
	Namespace string              `json:"namespace,omitempty"`
	JobID     JobID               `json:"creator_job_id"`
	Strategy  string              `json:"strategy"`
	Bundles   []Resources         `json:"bundles"`
	Labels    []map[string]string `json:"bundle_label_selector,omitempty"`
	Detached  bool                `json:"is_detached,omitempty"`
	Root      ActorID             `json:"root,omitzero"` // the detached actor that made it, with which it ends instead of with its job
	SoftNode  NodeID              `json:"soft_target_node_id,omitzero"`
	State     string              `json:"state"`
	Reason    string              `json:"reason,omitempty"` // why it is pending
	// Infeasible tells that the nodes of now could not hold it even if they were free.
	Infeasible bool     `json:"infeasible,omitempty"`
	Nodes      []NodeID `json:"bundle_nodes,omitempty"` // node of each bundle; zero where unplaced
	CreatedMS  int64    `json:"created_ms,omitempty"`
	// Attempts counts tries to place it, and Millis how long the creation took.
	Attempts int   `json:"attempts,omitempty"`
	Millis   int64 `json:"creation_ms,omitempty"`
}

// NodeInfo is what a node tells about itself when it joins.
type NodeInfo struct {
	ID             NodeID            `json:"node_id"`
	Name           string            `json:"name"`
	IP             string            `json:"ip"`
	Hostname       string            `json:"hostname"`
	Address        string            `json:"address"`  // host:port of its TLS port
	Instance       string            `json:"instance"` // cloud instance id (RAY_CLOUD_INSTANCE_ID), "" if none
	NodeType       string            `json:"node_type"`
	Head           bool              `json:"head"` // the head machine's daemon
	PID            int               `json:"pid"`
	Total          Resources         `json:"total"`
	Labels         map[string]string `json:"labels,omitempty"`
	Pythons        []string          `json:"pythons,omitempty"` // major.minor versions it can run
	SessionDir     string            `json:"session_dir"`
	MetricsAddress string            `json:"metrics_address,omitempty"`
	StartMS        int64             `json:"start_ms"`
	Version        string            `json:"version"`
}

// Node states.
const (
	NodeAlive    = "ALIVE"
	NodeDraining = "DRAINING"
	NodeDead     = "DEAD"
)

// Node is one row of the node table.
type Node struct {
	NodeInfo
	State       string    `json:"state"`
	Available   Resources `json:"available"`
	IdleMS      int64     `json:"idle_ms"`            // 0 while it is busy
	Activity    []string  `json:"activity,omitempty"` // why it is not idle
	Heir        NodeID    `json:"heir,omitzero"`
	Drain       *Drain    `json:"drain,omitempty"` // what it was asked, if it was
	DeathReason string    `json:"death_reason,omitempty"`
	DeathKind   string    `json:"death_kind,omitempty"`
	EndMS       int64     `json:"end_ms,omitempty"`
}

// Drain asks a node to take no new work and to leave.
type Drain struct {
	Reason     string `json:"reason"`
	Message    string `json:"message"`
	DeadlineMS int64  `json:"deadline_ms,omitempty"` // Unix time at which it ends in any case; 0 = never
}

// Reasons of a Drain, upstream's names. A node with work refuses the first.
const (
	DrainIdle      = "DRAIN_NODE_REASON_IDLE_TERMINATION"
	DrainPreempted = "DRAIN_NODE_REASON_PREEMPTION"
)

// Kinds of a node's death, upstream's names.
const (
	DeathExpected   = "EXPECTED_TERMINATION"
	DeathUnexpected = "UNEXPECTED_TERMINATION"
	DeathPreempted  = "AUTOSCALER_DRAIN_PREEMPTED"
	DeathIdle       = "AUTOSCALER_DRAIN_IDLE"
)

// Preempted tells that the node's machine is or was to be taken away: what ends
// with it is not to blame.
func (n *Node) Preempted() bool { return n.Drain != nil && n.Drain.Reason == DrainPreempted }

// Demand is a count of equal things that wait for a place: the scheduler's
// queue rows, summed. Reason says why they wait, for people.
type Demand struct {
	Resources     Resources           `json:"resources"`
	LabelSelector map[string]string   `json:"label_selector,omitempty"`
	Fallback      []map[string]string `json:"fallback,omitempty"`
	Count         int                 `json:"count"`
	Kind          string              `json:"kind"` // "task" or "actor"
	Reason        string              `json:"reason,omitempty"`
	Name          string              `json:"name,omitempty"` // of one of them
	JobID         JobID               `json:"job_id,omitzero"`
}

// Job statuses, upstream's names.
const (
	JobPending   = "PENDING"
	JobRunning   = "RUNNING"
	JobStopped   = "STOPPED"
	JobSucceeded = "SUCCEEDED"
	JobFailed    = "FAILED"
)

// Job is one row of the job table. A driver that connects by itself is a job
// of type DRIVER; one started by the job API is a SUBMISSION, which gets its
// JobID when its driver connects.
type Job struct {
	Type         string            `json:"type"` // SUBMISSION or DRIVER
	JobID        JobID             `json:"job_id,omitzero"`
	SubmissionID string            `json:"submission_id,omitempty"`
	Entrypoint   string            `json:"entrypoint"`
	Status       string            `json:"status"`
	Message      string            `json:"message,omitempty"`
	ErrorType    string            `json:"error_type,omitempty"`
	StartMS      int64             `json:"start_time"`
	EndMS        int64             `json:"end_time,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	Stopping     bool              `json:"stopping,omitempty"` // a submission that was told to stop while it ran
	RuntimeEnv   json.RawMessage   `json:"runtime_env,omitempty"`
	NodeID       NodeID            `json:"driver_node_id,omitzero"`
	DriverIP     string            `json:"driver_ip,omitempty"`
	DriverPID    int               `json:"driver_pid,omitempty"`
	ExitCode     *int              `json:"driver_exit_code,omitempty"`
	Namespace    string            `json:"namespace,omitempty"`
	// Need and NeedLabels choose the node of a submission's entrypoint.
	Need       Resources         `json:"entrypoint_need,omitempty"`
	NeedLabels map[string]string `json:"entrypoint_label_selector,omitempty"`
}

// Event is one thing worth telling a person.
type Event struct {
	TimeMS   int64  `json:"time_ms"`
	Severity string `json:"severity"` // INFO, WARNING, ERROR
	Source   string `json:"source"`   // autoscaler, node, gcs, jobs
	Message  string `json:"message"`
}

// PendingInstance is a machine that the autoscaler has asked for.
type PendingInstance struct {
	ID       string `json:"id,omitempty"`
	IP       string `json:"ip,omitempty"`
	NodeType string `json:"node_type"`
	State    string `json:"state"` // instance state, autoscaler's table
	Since    int64  `json:"since_ms"`
	Again    bool   `json:"again,omitempty"` // its node comes back on the machine that it had
	Reason   string `json:"reason,omitempty"`
}

// Failure is a recent failure of a machine.
type Failure struct {
	NodeType   string `json:"node_type"`
	Kind       string `json:"kind"` // LaunchFailed or NodeTerminated
	InstanceID string `json:"instance_id,omitempty"`
	TimeMS     int64  `json:"time_ms"`
	Details    string `json:"details,omitempty"`
}

// Status is everything that `ray status`, its TUI and the dashboard show, as
// one value taken at one time.
type Status struct {
	ClusterName string            `json:"cluster_name,omitempty"`
	ClusterID   string            `json:"cluster_id"`
	Address     string            `json:"address"`
	Dashboard   string            `json:"dashboard,omitempty"`
	SessionDir  string            `json:"session_dir,omitempty"`
	TimeMS      int64             `json:"time_ms"` // when it was taken
	Autoscaling bool              `json:"autoscaling"`
	NodeTypes   []NodeTypeStatus  `json:"node_types,omitempty"`
	Nodes       []Node            `json:"nodes"`
	Pending     []PendingInstance `json:"pending,omitempty"`
	Failures    []Failure         `json:"failures,omitempty"`
	Demands     []Demand          `json:"demands,omitempty"`
	Groups      []PlacementGroup  `json:"placement_groups,omitempty"` // those not yet placed
	Constraints []Demand          `json:"constraints,omitempty"`      // request_resources
	// GroupReserved and GroupUsed are summed over live bundles, for "(1.0 used of 2.0 reserved in placement groups)".
	GroupReserved Resources `json:"group_reserved,omitempty"`
	GroupUsed     Resources `json:"group_used,omitempty"`
	Infeasible    []Demand  `json:"infeasible,omitempty"`
	// ScalerCounts and ScalerSums (seconds) are what the autoscaler has counted
	// since the head began, by upstream's names of its metrics.
	ScalerCounts map[string]float64 `json:"autoscaler_counts,omitempty"`
	ScalerSums   map[string]float64 `json:"autoscaler_sums,omitempty"`
	AutoStop     *AutoStop          `json:"auto_stop,omitempty"`
	HeadNotice   *Drain             `json:"head_notice,omitempty"` // the cloud will take the head's machine away
	Backoffs     []Backoff          `json:"backoffs,omitempty"`    // node types and offerings that are not asked for at present
	Actors       []ActorInfo        `json:"actors,omitempty"`
	Tasks        []TaskInfo         `json:"tasks,omitempty"` // running and pending, at most 1,000
	Jobs         []Job              `json:"jobs,omitempty"`
	Events       []Event            `json:"events,omitempty"` // newest last, at most 200
}

// NodeTypeStatus is one node type of the cluster YAML.
type NodeTypeStatus struct {
	Name      string    `json:"name"`
	Resources Resources `json:"resources"`
	Min       int       `json:"min_workers"`
	Max       int       `json:"max_workers"`
}

// What Node.Activity says, after a number, of drivers.
const (
	OneDriver   = "driver is connected"
	ManyDrivers = "drivers are connected"
)

// What Node.Activity says of a draining node that has nothing else to do, before
// more words.
const (
	MayCome   = "tasks may be on their way here still"
	HasToTell = "it has to tell"
	IsTelling = "it tells"
)

// Leaving tells whether a draining node is kept by its last words alone, which
// are no use of the cluster.
func (n *Node) Leaving() bool {
	for _, a := range n.Activity {
		if a != MayCome && !strings.HasPrefix(a, HasToTell+" ") && !strings.HasPrefix(a, IsTelling+" ") {
			return false
		}
	}
	return n.State == NodeDraining
}

// OnlyDrivers tells whether a node is kept by connected drivers alone: nothing
// runs on it, and nothing is there that is needed.
func (n *Node) OnlyDrivers() bool {
	for _, a := range n.Activity {
		if _, what, _ := strings.Cut(a, " "); what != OneDriver && what != ManyDrivers {
			return false
		}
	}
	return len(n.Activity) > 0
}
