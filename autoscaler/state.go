package autoscaler

import "slices"

// State of an instance. The names are upstream's.
type State string

// States of an instance, in the order of a normal life.
const (
	Queued            State = "QUEUED"             // decided, not yet asked of the provider
	Requested         State = "REQUESTED"          // the provider was asked
	Allocated         State = "ALLOCATED"          // the machine exists
	RayInstalling     State = "RAY_INSTALLING"     // the node daemon is being put on it
	RayRunning        State = "RAY_RUNNING"        // its node is part of the cluster
	RayStopRequested  State = "RAY_STOP_REQUESTED" // the node was asked to drain; it may refuse
	RayStopping       State = "RAY_STOPPING"       // the node drains
	RayStopped        State = "RAY_STOPPED"        // the node is gone, the machine is still there
	Terminating       State = "TERMINATING"        // the provider was asked to take it away
	Terminated        State = "TERMINATED"         // seen to be gone
	AllocationFailed  State = "ALLOCATION_FAILED"  // the provider said no
	RayInstallFailed  State = "RAY_INSTALL_FAILED" // the node never came up
	TerminationFailed State = "TERMINATION_FAILED" // the provider could not take it away; tried again
	AllocationTimeout State = "ALLOCATION_TIMEOUT" // the machine exists but never became usable
)

// edges lists the allowed next states of each state.
var edges = map[State][]State{
	// A queued instance that is no longer wanted ends without any call.
	Queued: {Requested, Terminated},
	// Back to QUEUED when the answer was lost and no machine showed up.
	Requested: {Allocated, Queued, AllocationFailed},
	// RAY_RUNNING at once for an adopted machine whose node already serves.
	Allocated:     {RayInstalling, RayRunning, RayStopping, RayStopped, AllocationTimeout, Terminating, Terminated},
	RayInstalling: {RayRunning, RayInstallFailed, RayStopped, Terminating, Terminated},
	RayRunning:    {RayStopRequested, RayStopping, RayStopped, Terminating, Terminated},
	// Back to RAY_RUNNING when the node refuses because it has work again.
	RayStopRequested: {RayStopping, RayStopped, RayRunning, Terminated},
	RayStopping:      {RayStopped, Terminating, Terminated},
	// Back to RAY_INSTALLING when the machine is good and only its node must
	// come again; upstream knows no such edge.
	RayStopped:        {RayInstalling, Terminating, Terminated},
	Terminating:       {Terminated, TerminationFailed},
	RayInstallFailed:  {Terminating, Terminated},
	TerminationFailed: {Terminating, Terminated},
	AllocationTimeout: {Terminating, Terminated},
	Terminated:        nil,
	AllocationFailed:  nil,
}

// CanBecome tells whether an instance in state s may go to next.
func (s State) CanBecome(next State) bool { return slices.Contains(edges[s], next) }

// Known tells whether s is a state of the table.
func (s State) Known() bool { _, ok := edges[s]; return ok }

// Terminal tells whether nothing can happen to the instance any more.
func (s State) Terminal() bool { return s == Terminated || s == AllocationFailed }

// InFlight tells whether the instance is on its way to be a node.
func (s State) InFlight() bool {
	return s == Queued || s == Requested || s == Allocated || s == RayInstalling
}

// Serving tells whether the instance is, or will be, a node that takes work.
func (s State) Serving() bool { return s.InFlight() || s == RayRunning }

// Billed tells whether a machine may exist at the provider.
func (s State) Billed() bool { return s != Queued && !s.Terminal() }
