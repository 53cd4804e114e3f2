package wire

import (
	"encoding/json"

	"ray/internal/spec"
)

// Methods that a node calls on the head. The kv, actor, pg, nodes, cluster,
// status, state, pkg and autoscaler methods of docs/PROTOCOL.md section 2 are
// passed on by the node unchanged; the ones below are its own.
const (
	// MethodRegister (RegisterRequest → RegisterReply) is the first call of a session.
	MethodRegister = "node.register"
	// MethodHeartbeat (HeartbeatDelta → HeartbeatReply): when something changed, at most every 20 ms; at least every second.
	MethodHeartbeat = "node.heartbeat"
	// MethodProcessBlock (nothing → ProcessBlock) leases process numbers.
	MethodProcessBlock = "proc.block"
	// MethodPlaces (note, Places) replaces the node's whole list of rows that want a place elsewhere.
	MethodPlaces = "sched.places"
	// MethodJobStart (JobStart → JobStarted) announces a driver that connected.
	MethodJobStart = "job.start"
	// MethodJobFinish (JobFinish → nothing) says that a driver is gone.
	MethodJobFinish = "job.finish"
	// MethodActorCreate (ActorCreate → nothing) asks for a place; the answer comes as MethodActorPlace.
	MethodActorCreate = "actor.create"
	// MethodActorStarted (note, ActorStarted): the constructor has returned.
	MethodActorStarted = "actor.started"
	// MethodActorEnded (note, ActorEnded): the process is gone, or the constructor raised, or the node refused.
	MethodActorEnded = "actor.ended"
	// MethodActorUnreferenced (ActorRef → nothing): the last handle is gone.
	MethodActorUnreferenced = "actor.unreferenced"
	// MethodActorWatch (ActorRef → spec.ActorInfo) gives the row now and MethodActorUpdate notes from then on.
	MethodActorWatch = "actor.watch"
	// MethodDriverProgress (note, DriverProgress): tells what an entrypoint that was ordered waits for.
	MethodDriverProgress = "driver.progress"
	// MethodDriverExited (DriverExited → nothing): an entrypoint run by MethodDriverRun ended. The answer says that it is stored.
	MethodDriverExited = "driver.exited"
	// MethodEvent (note, spec.Event) adds to the cluster's events.
	MethodEvent = "event"
	// MethodPackageGet (PackageGet → nothing, bytes as tail) fetches an uploaded working_dir.
	MethodPackageGet = "pkg.get"
	// MethodUnregister (note): the node leaves on purpose.
	MethodUnregister = "node.unregister"
)

// Methods that the head calls on a node.
const (
	// MethodNodesUpdate (note, []spec.Node): rows of the node table that changed.
	MethodNodesUpdate = "nodes.update"
	// MethodGrants (note, Grants) answers MethodPlaces.
	MethodGrants = "sched.grants"
	// MethodActorPlace (note, ActorPlace) goes to the owner, or, for a detached actor whose owner is gone, to the chosen node with the stored spec.
	MethodActorPlace = "actor.place"
	// MethodActorUpdate (note, spec.ActorInfo) goes to watchers.
	MethodActorUpdate = "actor.update"
	// MethodActorKill (note, ActorKill) goes to the node where it lives.
	MethodActorKill = "actor.kill"
	// MethodBundlePrepare (Bundle → nothing) reserves; an error refuses.
	MethodBundlePrepare = "bundle.prepare"
	// MethodBundleCommit (Bundle → nothing) turns the reservation into group resources.
	MethodBundleCommit = "bundle.commit"
	// MethodBundleReturn (note, Bundle) gives it back and ends what runs inside.
	MethodBundleReturn = "bundle.return"
	// MethodJobFinished (note, JobFinish) goes to every node: end the job's tasks, actors, workers, objects.
	MethodJobFinished = "job.finished"
	// MethodQuery (Query → QueryReply) lists tasks, objects or workers of the node.
	MethodQuery = "state.query"
	// MethodDriverRun (DriverRun → DriverStarted) starts a submitted job's entrypoint.
	MethodDriverRun = "driver.run"
	// MethodDriverStop (DriverStop → nothing): SIGTERM to its group, SIGKILL after the grace.
	MethodDriverStop = "driver.stop"
	// MethodDriverForget (DriverForget → nothing): removes what an entrypoint that has ended left.
	MethodDriverForget = "driver.forget"
	// MethodLogRead (LogRead → LogChunk, bytes as tail) reads a file under the node's logs.
	MethodLogRead = "log.read"
	// MethodLogList (LogList → []LogFile).
	MethodLogList = "log.list"
	// MethodDrain (spec.Drain → DrainReply) asks the node to take no new work and to say when it is idle.
	MethodDrain = "node.drain"
	// MethodHeadNotice (spec.Drain → nothing) tells the head that the cloud will
	// take its machine away; the head machine's node repeats it.
	MethodHeadNotice = "head.notice"
	// MethodResize (spec.Resources → spec.Resources) sets how much the node has of these, and tells all that it has.
	MethodResize = "node.resize"
	// MethodCollect (note; to the head a call) has every node ask its processes to collect Python's garbage.
	MethodCollect = "objects.collect"
	// MethodShutdown (note) ends the daemon: ray stop, down.
	MethodShutdown = "node.shutdown"
	// MethodLogLines (note, LogLines) carries autoscaler and error lines to drivers.
	MethodLogLines = "log.lines"
)

// RegisterRequest announces a node, new or after the head's restart.
type RegisterRequest struct {
	Info    spec.NodeInfo   `json:"info"`
	Actors  []ActorStarted  `json:"actors,omitempty"`  // what lives here, so that a restarted head restarts nothing
	Owned   []ActorCreate   `json:"owned,omitempty"`   // actors whose creation spec this node owns and that are not dead
	Bundles []Bundle        `json:"bundles,omitempty"` // committed reservations
	Jobs    []spec.Job      `json:"jobs,omitempty"`    // drivers connected here
	Drivers []DriverStarted `json:"drivers,omitempty"` // submitted entrypoints running here
}

// RegisterReply admits the node.
type RegisterReply struct {
	ClusterID   string          `json:"cluster_id"`
	ClusterName string          `json:"cluster_name,omitempty"`
	SessionName string          `json:"session_name"`
	Block       ProcessBlock    `json:"block"`
	LeaseMS     int64           `json:"lease_ms"`
	Dashboard   string          `json:"dashboard,omitempty"` // host:port
	Nodes       []spec.Node     `json:"nodes"`
	Config      json.RawMessage `json:"config,omitempty"`
}

// ProcessBlock is a range of process numbers that no other node gets.
type ProcessBlock struct {
	Start uint32 `json:"start"`
	Count uint32 `json:"count"`
}

// QueueRow sums a scheduling class of the node's local queue.
type QueueRow struct {
	Key        string         `json:"key"`
	Resources  spec.Resources `json:"resources"`
	Queued     int            `json:"queued"`
	Running    int            `json:"running"`
	MeanMicros int64          `json:"mean_us"`
	Actor      bool           `json:"actor,omitempty"` // what runs of it will not be free again
}

// Places are the rows of one node that want a place.
type Places struct {
	Rows []PlaceRow `json:"rows"`
}

// PlaceRow is a scheduling class of which Count tasks want a node.
type PlaceRow struct {
	Key           string              `json:"key"` // the sender's own name of the class, comes back in the grant
	Resources     spec.Resources      `json:"resources"`
	LabelSelector map[string]string   `json:"label_selector,omitempty"`
	Fallback      []map[string]string `json:"fallback,omitempty"`
	Strategy      spec.Strategy       `json:"strategy"`
	Count         int                 `json:"count"`
	Name          string              `json:"name"`
	JobID         spec.JobID          `json:"job_id"`
	Python        string              `json:"python,omitempty"` // major.minor that the job needs
	Inputs        []Input             `json:"inputs,omitempty"` // largest first, at most 8
	// LocalWaitMicros is how long the sender's own queue would take; 0 with Infeasible if never.
	LocalWaitMicros int64 `json:"local_wait_us"`
	Infeasible      bool  `json:"infeasible,omitempty"` // cannot run on the sender at all
	// Spares: the sender could begin them now, but on a node whose GPUs they have no use for.
	// The part that finds no node without GPUs is granted to the sender itself, at once.
	Spares bool `json:"spares,omitempty"`
}

// Input is a large argument and the nodes that have it.
type Input struct {
	Size  int64         `json:"size"`
	Nodes []spec.NodeID `json:"nodes"`
}

// Grants answers Places. Reasons name rows that got nothing, and why.
type Grants struct {
	Grants  []Grant  `json:"grants,omitempty"`
	Reasons []Reason `json:"reasons,omitempty"`
}

// Grant lets the owner send Count tasks of a row to Node within ValidMS.
type Grant struct {
	Key     string      `json:"key"`
	Node    spec.NodeID `json:"node"`
	Count   int         `json:"count"`
	ValidMS int64       `json:"valid_ms"`
}

// Reason says why a row waits. Infeasible: no node of now could ever run it. Error ends its tasks (TaskUnschedulableError).
type Reason struct {
	Key        string          `json:"key"`
	Text       string          `json:"text"`
	Infeasible bool            `json:"infeasible,omitempty"`
	Error      *spec.ErrorInfo `json:"error,omitempty"`
}

// JobStart asks for a job id.
type JobStart struct {
	Job spec.Job `json:"job"`
}

// JobStarted gives it.
type JobStarted struct {
	JobID spec.JobID `json:"job_id"`
}

// JobFinish names a job whose driver is gone.
type JobFinish struct {
	JobID  spec.JobID `json:"job_id"`
	Reason string     `json:"reason,omitempty"`
}

// ActorCreate asks for a place for an actor.
type ActorCreate struct {
	Info          spec.ActorInfo      `json:"info"`
	Root          spec.ActorID        `json:"root,omitzero"` // of spec.Template: it outlives its job
	Placement     spec.Resources      `json:"placement"`     // needed to be placed
	Strategy      spec.Strategy       `json:"strategy"`
	LabelSelector map[string]string   `json:"label_selector,omitempty"`
	Fallback      []map[string]string `json:"fallback,omitempty"`
	Python        string              `json:"python,omitempty"`
	Inputs        []Input             `json:"inputs,omitempty"`
	// Stored is the creation spec of a detached actor, opaque to the head, at most 16 MiB.
	Stored []byte `json:"stored,omitempty"`
}

// ActorPlace tells where to start an incarnation. Stored is filled in if the receiver is not the owner.
type ActorPlace struct {
	ActorID     spec.ActorID `json:"actor_id"`
	Incarnation int          `json:"incarnation"`
	Node        spec.NodeID  `json:"node"`
	Room        bool         `json:"room,omitempty"` // the node has room by its last word: if it has not, it refuses
	Stored      []byte       `json:"stored,omitempty"`
}

// ActorStarted reports a live incarnation.
type ActorStarted struct {
	ActorID     spec.ActorID  `json:"actor_id"`
	Incarnation int           `json:"incarnation"`
	WorkerID    spec.WorkerID `json:"worker_id"`
	PID         int           `json:"pid"`
	ReprName    string        `json:"repr_name,omitempty"`
}

// ActorEnded reports the end of an incarnation.
type ActorEnded struct {
	ActorID     spec.ActorID    `json:"actor_id"`
	Incarnation int             `json:"incarnation"`
	Cause       *spec.ErrorInfo `json:"cause,omitempty"`
	Intended    bool            `json:"intended,omitempty"`    // exit_actor and the like: no restart
	InitFailed  bool            `json:"init_failed,omitempty"` // the constructor raised: no restart
	Refused     bool            `json:"refused,omitempty"`     // the node had no room: place it again, no restart counted
}

// ActorRef names an actor.
type ActorRef struct {
	ActorID spec.ActorID `json:"actor_id"`
}

// ActorKill ends an actor's process. It may come to the node before the order
// to start that process does, which takes the way by the actor's owner.
type ActorKill struct {
	ActorID     spec.ActorID `json:"actor_id"`
	Incarnation int          `json:"incarnation,omitempty"` // this one, or one before it; 0: whichever there is
	NoRestart   bool         `json:"no_restart"`
	Graceful    bool         `json:"graceful,omitempty"` // out of scope: finish queued calls first
	Reason      string       `json:"reason,omitempty"`   // what follows "The actor is dead because", without the full stop
}

// Bundle is a reservation on a node.
type Bundle struct {
	Group     spec.PlacementGroupID `json:"placement_group_id"`
	Index     int                   `json:"index"`
	Resources spec.Resources        `json:"resources"`
	JobID     spec.JobID            `json:"job_id"`
	Of        int                   `json:"of,omitempty"` // how many bundles the group has
}

// Query asks a node for rows: Kind is "tasks", "objects", "workers" or "memory".
type Query struct {
	Kind  string `json:"kind"`
	Limit int    `json:"limit"`
}

// QueryReply holds rows in the state API's column names.
type QueryReply struct {
	Total int              `json:"total"`
	Rows  []map[string]any `json:"rows"`
}

// DriverRun starts the entrypoint of a submitted job through a shell.
type DriverRun struct {
	SubmissionID string            `json:"submission_id"`
	Entrypoint   string            `json:"entrypoint"`
	Env          map[string]string `json:"env"`
	RuntimeEnv   json.RawMessage   `json:"runtime_env,omitempty"`
	// Resources are held until the entrypoint ends; a node without them
	// refuses with the error type ErrNodeBusy.
	Resources spec.Resources `json:"resources,omitempty"`
}

// ErrNodeBusy is the error type of a node that has not what a request needs
// now: another, or the same one later, may have it.
const ErrNodeBusy = "NodeBusyError"

// ErrNotRegistered is the error type of a head that a node calls before it has
// registered there: the caller asks again when it has.
const ErrNotRegistered = "NodeNotRegisteredError"

// ErrNoLogFile is the error type of a LogRead of a file that is not there.
const ErrNoLogFile = "FileNotFoundError"

// DriverStarted reports the process. The log is logs/job-driver-<submission id>.log.
type DriverStarted struct {
	SubmissionID string `json:"submission_id"`
	PID          int    `json:"pid"`
}

// DriverStop ends an entrypoint.
type DriverStop struct {
	SubmissionID string `json:"submission_id"`
	GraceMS      int64  `json:"grace_ms"`
}

// DriverForget names an entrypoint whose job is deleted.
type DriverForget struct {
	SubmissionID string `json:"submission_id"`
}

// DriverProgress tells how far the environment of an entrypoint has come.
type DriverProgress struct {
	SubmissionID string `json:"submission_id"`
	Text         string `json:"text"` // the installer's last line
}

// DriverExited reports its end. Signal is 0 if it exited by itself.
type DriverExited struct {
	SubmissionID string          `json:"submission_id"`
	ExitCode     int             `json:"exit_code"`
	Signal       int             `json:"signal,omitempty"`
	OutOfMemory  bool            `json:"out_of_memory,omitempty"` // the kernel's doing, as far as the node can tell
	Error        *spec.ErrorInfo `json:"error,omitempty"`         // it could not be started
}

// PackageGet names an uploaded package.
type PackageGet struct {
	URI string `json:"uri"`
}

// LogRead reads a log file from Offset, or its last Lines lines if Lines > 0.
type LogRead struct {
	File   string `json:"file"`   // relative to logs/
	Offset int64  `json:"offset"` // of all that was ever written, also to parts that are gone
	Lines  int    `json:"lines,omitempty"`
	Max    int    `json:"max,omitempty"` // bytes; 0 = 1 MiB
}

// JobOffsetQuery asks the tail of a job's output over HTTP to begin at an
// offset in bytes, and to tell offsets: each text message is followed by a
// binary one, the decimal offset behind it, from which a client goes on when its
// connection breaks. Upstream's client does not ask, and gets text alone.
const JobOffsetQuery = "offset"

// LogChunk describes the tail that comes with it.
type LogChunk struct {
	Start int64 `json:"start"` // its offset: more than was asked for if older parts of the log are gone
	Next  int64 `json:"next"`  // offset after it
	EOF   bool  `json:"eof"`
}

// LogList lists log files that match a glob.
type LogList struct {
	Glob string `json:"glob"`
}

// LogFile is one of them.
type LogFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// DrainReply accepts, or says why not.
type DrainReply struct {
	Accepted bool   `json:"accepted"`
	Message  string `json:"message,omitempty"`
}

// LogLines are printed by the drivers of a job (JobID zero: of every job).
type LogLines struct {
	JobID spec.JobID `json:"job_id,omitzero"`
	Kind  string     `json:"kind"` // "autoscaler", "raylet", "error"
	Lines []string   `json:"lines"`
}
