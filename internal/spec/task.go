package spec

import "encoding/json"

// Strategy says where a task or actor may run.
type Strategy struct {
	// Kind is "DEFAULT", "SPREAD", "NODE_AFFINITY", "NODE_LABEL" or "PLACEMENT_GROUP".
	Kind string `json:"kind"`
	// NodeID and Soft belong to NODE_AFFINITY.
	NodeID NodeID `json:"node_id,omitzero"`
	Soft   bool   `json:"soft,omitempty"`
	// SpillOnUnavailable and FailOnUnavailable are upstream's private switches of NODE_AFFINITY.
	SpillOnUnavailable bool `json:"spill_on_unavailable,omitempty"`
	FailOnUnavailable  bool `json:"fail_on_unavailable,omitempty"`
	// HardLabels and SoftLabels belong to NODE_LABEL: label → selector string.
	HardLabels map[string]string `json:"hard_labels,omitempty"`
	SoftLabels map[string]string `json:"soft_labels,omitempty"`
	// PlacementGroup, Bundle (-1 = any) and CaptureChildren belong to PLACEMENT_GROUP.
	PlacementGroup  PlacementGroupID `json:"placement_group,omitzero"`
	Bundle          int              `json:"bundle,omitempty"`
	CaptureChildren bool             `json:"capture_children,omitempty"`
}

// Kinds of Strategy.
const (
	StrategyDefault        = "DEFAULT"
	StrategySpread         = "SPREAD"
	StrategyNodeAffinity   = "NODE_AFFINITY"
	StrategyNodeLabel      = "NODE_LABEL"
	StrategyPlacementGroup = "PLACEMENT_GROUP"
)

// Template holds all that many tasks have in common: a client sends it once
// and then names it by number. The JSON names are the wire contract
// (docs/PROTOCOL.md); Python writes it, the daemon and the worker read it.
type Template struct {
	// Kind is "task", "actor_create" or "actor_call".
	Kind       string     `json:"kind"`
	FunctionID FunctionID `json:"function_id,omitzero"` // of the function, or of the class
	Method     string     `json:"method,omitempty"`     // actor_call: name of the method
	Name       string     `json:"name"`                 // shown to users: f, A.__init__, A.m
	Function   string     `json:"function"`             // module-qualified name, for the state API

	Resources     Resources           `json:"resources,omitempty"` // held while it runs
	Placement     Resources           `json:"placement,omitempty"` // needed to be placed, if it differs (default actors: 1 CPU to place, 0 to hold)
	Strategy      Strategy            `json:"strategy"`
	LabelSelector map[string]string   `json:"label_selector,omitempty"`
	Fallback      []map[string]string `json:"fallback,omitempty"`    // label selectors tried in order
	RuntimeEnv    json.RawMessage     `json:"runtime_env,omitempty"` // normalised object, merged with the job's

	MaxRetries      int  `json:"max_retries"`      // -1 = for ever; actor_call: max_task_retries
	RetryExceptions bool `json:"retry_exceptions"` // the worker decides whether an exception matches and says so in DONE
	MaxCalls        int  `json:"max_calls,omitempty"`
	Streaming       bool `json:"streaming,omitempty"` // generator: returns are made one by one
	Dynamic         bool `json:"dynamic,omitempty"`   // num_returns="dynamic"
	Backpressure    int  `json:"backpressure,omitempty"`
	Unlisted        bool `json:"unlisted,omitempty"` // enable_task_events=False: the state API does not list it

	// ConcurrencyGroup of an actor_call; "" is the default group.
	ConcurrencyGroup string `json:"concurrency_group,omitempty"`
	// Root is the detached actor from which the work descends: such work, like
	// that actor, outlives its job. The daemon of the submitting worker fills it in.
	Root ActorID `json:"root,omitzero"`
	// Extra is for Python alone (worker reads what the driver wrote): daemons pass it on unread.
	Extra json.RawMessage `json:"extra,omitempty"`

	Actor *ActorOptions `json:"actor,omitempty"` // actor_create only
}

// Yields tells that the task gives its items one by one while it runs.
func (t *Template) Yields() bool { return t.Streaming || t.Dynamic }

// Outlives tells that the end of the job is not the end of the work.
func (t *Template) Outlives() bool {
	return !t.Root.IsZero() || t.Actor != nil && t.Actor.Detached
}

// Kinds of Template.
const (
	KindTask        = "task"
	KindActorCreate = "actor_create"
	KindActorCall   = "actor_call"
)

// ActorOptions are the parts of an actor's creation that the cluster must know.
type ActorOptions struct {
	ClassName      string         `json:"class_name"`
	Name           string         `json:"name,omitempty"`
	Namespace      string         `json:"namespace,omitempty"` // always filled in by the driver
	Detached       bool           `json:"detached,omitempty"`
	GetIfExists    bool           `json:"get_if_exists,omitempty"`
	MaxRestarts    int            `json:"max_restarts"` // -1 = for ever
	MaxTaskRetries int            `json:"max_task_retries"`
	MaxConcurrency int            `json:"max_concurrency"`
	Groups         map[string]int `json:"groups,omitempty"` // concurrency groups: name → limit
	Async          bool           `json:"async,omitempty"`
	OutOfOrder     bool           `json:"out_of_order,omitempty"` // calls may start before earlier ones of the same caller
	// Handle is opaque to Go: what a handle that get_actor makes needs (JSON, written and read by Python).
	Handle json.RawMessage `json:"handle,omitempty"`
}

// Actor states, upstream's names.
const (
	ActorDependenciesUnready = "DEPENDENCIES_UNREADY"
	ActorPending             = "PENDING_CREATION"
	ActorAlive               = "ALIVE"
	ActorRestarting          = "RESTARTING"
	ActorDead                = "DEAD"
)

// ActorInfo is one row of the actor table.
type ActorInfo struct {
	ID             ActorID          `json:"actor_id"`
	JobID          JobID            `json:"job_id"`
	Options        ActorOptions     `json:"options"`
	State          string           `json:"state"`
	Owner          NodeID           `json:"owner"`            // node that owns the creation object
	NodeID         NodeID           `json:"node_id,omitzero"` // where it lives
	WorkerID       WorkerID         `json:"worker_id,omitzero"`
	PID            int              `json:"pid,omitempty"`
	Restarts       int              `json:"num_restarts"`
	PreemptedTimes int              `json:"num_restarts_due_to_node_preemption,omitempty"` // of Restarts; these are not counted against MaxRestarts
	Incarnation    int              `json:"incarnation"`                                   // counts starts, from 1
	Death          *ErrorInfo       `json:"death,omitempty"`
	Resources      Resources        `json:"resources,omitempty"`
	ReprName       string           `json:"repr_name,omitempty"`
	Reason         string           `json:"reason,omitempty"` // why it is pending
	PlacementGroup PlacementGroupID `json:"placement_group,omitzero"`
}

// ErrorInfo is an error that a daemon or the head made: Python turns it into
// the exception class Type of ray.exceptions. Fields hold that class's
// attributes that are not in Message (see docs/PROTOCOL.md).
type ErrorInfo struct {
	Type    string         `json:"type"`
	Message string         `json:"message"`
	Fields  map[string]any `json:"fields,omitempty"`
}

func (e *ErrorInfo) Error() string { return e.Type + ": " + e.Message }

// TaskInfo is one row of the task table, with upstream's state names.
type TaskInfo struct {
	ID           TaskID    `json:"task_id"`
	Attempt      int       `json:"attempt_number"`
	Name         string    `json:"name"`
	Function     string    `json:"func_or_class_name"`
	State        string    `json:"state"`
	Reason       string    `json:"reason,omitempty"` // why it is not running yet
	JobID        JobID     `json:"job_id"`
	ActorID      ActorID   `json:"actor_id,omitzero"`
	Type         string    `json:"type"`
	ParentTaskID TaskID    `json:"parent_task_id,omitzero"`
	NodeID       NodeID    `json:"node_id,omitzero"`
	WorkerID     WorkerID  `json:"worker_id,omitzero"`
	WorkerPID    int       `json:"worker_pid,omitempty"`
	ErrorType    string    `json:"error_type,omitempty"`
	ErrorMessage string    `json:"error_message,omitempty"`
	Resources    Resources `json:"required_resources,omitempty"`
	CreatedMS    int64     `json:"creation_time_ms,omitempty"`
	StartMS      int64     `json:"start_time_ms,omitempty"`
	EndMS        int64     `json:"end_time_ms,omitempty"`
}
