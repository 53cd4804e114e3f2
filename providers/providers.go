package providers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"ray/internal/cluster"
	"ray/internal/sshx"
)

// Kinds of instance, as the tag TagKind says.
const (
	Head   = "head"
	Worker = "worker"
)

// Tags that the launcher and the autoscaler set, upstream's names.
const (
	TagCluster    = "ray-cluster-name"
	TagKind       = "ray-node-type"
	TagType       = "ray-user-node-type"
	TagName       = "ray-node-name"
	TagLaunchHash = "ray-launch-config"
	TagStatus     = "ray-node-status"
	TagRuntime    = "ray-runtime-config"
	TagContents   = "ray-file-mounts-contents"
	// TagFileHash is this launcher's own: the launch hash of the file as it was
	// written. What a provider fills in, and TagLaunchHash covers, may differ
	// from one day and one laptop to the next.
	TagFileHash = "ray-file-launch-config"
	TagRequest  = "ray-launch-request" // the token of the request that made it
)

// State of an instance.
type State string

// States of an instance. A terminated one is listed for a while (at least the
// latest ten minutes), so that its end is seen.
const (
	Pending    State = "pending"
	Running    State = "running"
	Stopping   State = "stopping"
	Stopped    State = "stopped" // it does not run; its disks cost, and a Stopper can start it again
	Terminated State = "terminated"
)

// Live tells whether the instance exists or will: it costs something.
func (s State) Live() bool { return s != Terminated }

// Up tells whether the instance runs or soon will.
func (s State) Up() bool { return s == Pending || s == Running }

// Instance is one machine.
type Instance struct {
	ID         string            `json:"id"`
	Type       string            `json:"type"` // node type
	Kind       string            `json:"kind"` // Head or Worker
	State      State             `json:"state"`
	Tags       map[string]string `json:"tags,omitempty"`
	IP         string            `json:"ip"` // by which other nodes reach it
	ExternalIP string            `json:"external_ip,omitempty"`
	Created    time.Time         `json:"created"`
	Ended      time.Time         `json:"ended,omitzero"`
	Reason     string            `json:"reason,omitempty"` // why it ended, where the provider knows
}

// CreateRequest asks for Count instances of one node type.
type CreateRequest struct {
	// Token makes the request idempotent: asking again with the same token
	// gives the same instances, whether or not the first answer arrived.
	Token string
	Type  string
	Kind  string
	Count int
	Tags  map[string]string // besides those that the provider sets itself
	// Ways are the offerings to try, in order; nil leaves the choice to the
	// provider. Only an Offerer looks at it.
	Ways []Offering
	// Tried, if it is not nil, is told of each offering that was asked for: a
	// nil error if it gave something, else why it did not.
	Tried func(Offering, error)
}

// tried tells of an offering.
func (r *CreateRequest) tried(o Offering, err error) {
	if r.Tried != nil {
		r.Tried(o, err)
	}
}

// Offerer is a provider that can get a machine of a node type in several ways.
type Offerer interface {
	// Offerings lists them in the order in which they are preferred.
	Offerings(nodeType string) []Offering
}

// Provider makes and ends machines of one cluster. Its methods may be called
// at the same time from several goroutines and processes. Errors are of type
// *Error where the cause is known.
type Provider interface {
	// Create makes instances; it may return before they run. If it can make
	// some but not all it returns those and an error.
	Create(ctx context.Context, req CreateRequest) ([]Instance, error)
	// List gives every instance of the cluster, oldest first, and those that
	// ended not long ago.
	List(ctx context.Context) ([]Instance, error)
	// Terminate ends instances for good and returns when the provider has
	// accepted that; ending what has ended already, or never was, is no error.
	Terminate(ctx context.Context, ids []string) error
	// Host gives the connection to an instance; the caller closes it.
	Host(ctx context.Context, id string) (sshx.Host, error)
	// Traits says what nodes of this provider are like.
	Traits() Traits
}

// SelfEnder is a provider by which a program cannot end the instance that it
// runs on with Terminate, since that would not live to see it done.
type SelfEnder interface {
	// EndSelf ends the instance of the caller, who is killed soon after; with
	// keep it is stopped, as by Stopper.
	EndSelf(ctx context.Context, id string, keep bool) error
}

// Stopper is a provider that can keep instances without running them, at the
// price of their disks.
type Stopper interface {
	// Stop stops instances and returns when the provider has accepted that.
	// One that could not be started again is ended; one that is gone is no
	// error.
	Stop(ctx context.Context, ids []string) error
	// Restart starts an instance that is stopped, or about to be, with tags
	// besides those that it has, and returns when the provider has accepted that.
	Restart(ctx context.Context, id string, tags map[string]string) error
}

// ErrUnmade is Foresee's answer about what is not there yet.
var ErrUnmade = errors.New("would have to be made first")

// Preparer is a provider that needs more than machines: keys, networks, rights.
type Preparer interface {
	// Prepare finds or makes what the cluster file leaves open and gives the
	// file with it filled in, from which the provider then is made anew. It may
	// be called again: what is there is used.
	Prepare(ctx context.Context) (*cluster.Config, error)
	// Foresee is Prepare that only looks: where that would make something, the
	// error is ErrUnmade.
	Foresee(ctx context.Context) (*cluster.Config, error)
	// Cleanup removes what Prepare made for this cluster, once its machines
	// are gone, and names what it removed.
	Cleanup(ctx context.Context) ([]string, error)
}

// Tagger is a provider whose instances can be given tags while they live.
type Tagger interface {
	// Tag sets tags of an instance, besides those that it has.
	Tag(ctx context.Context, id string, tags map[string]string) error
}

// Traits are the differences between providers that launcher and bootstrap
// must know.
type Traits struct {
	// SharedMachine: nodes are on the caller's machine, so the program need not
	// be copied there and files of the caller can be named as they are.
	SharedMachine bool
	// Divided: several nodes are on one machine, so what it has is no node's
	// own, and each offers what the file declares.
	Divided bool
	// Manual: the hosts exist anyway; nobody launches more on demand.
	Manual bool
}

// ErrNoInstance is wrapped when an id is not (or no longer) an instance.
var ErrNoInstance = errors.New("no such instance")

// Cause is why a provider refused.
type Cause string

// Causes. Capacity and Quota pass, and another type or place may do meanwhile;
// Auth and Config need a person; Transient is worth another try at once.
const (
	Capacity  Cause = "capacity"
	Quota     Cause = "quota"
	Auth      Cause = "auth"
	BadConfig Cause = "config"
	Transient Cause = "transient"
)

// Error is a refusal with a known cause.
type Error struct {
	Cause Cause
	Op    string // what was asked, as in "create 2 of cpu_worker"
	Code  string // the provider's own code, if it has any
	Hint  string // what to do next
	Err   error
}

func (e *Error) Error() string {
	s := e.Op
	if e.Cause != BadConfig || e.Code != "" || e.Err != nil { // else the operation says it all
		s += ": " + string(e.Cause)
	}
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// CauseOf gives the cause of an error, "" if it is not known.
func CauseOf(err error) Cause {
	var e *Error
	if errors.As(err, &e) {
		return e.Cause
	}
	return ""
}

// InstanceID derives the id of a request's n-th instance for providers that
// choose ids themselves, so that repeating a request names the same instances.
func InstanceID(cluster, token string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", cluster, token, n))
	return "i-" + hex.EncodeToString(sum[:5])
}
