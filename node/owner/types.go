package owner

import (
	"ray/internal/spec"
)

// Client is the daemon's own number of a connected driver or worker; 0 is none.
type Client uint32

// Task kinds, as in SUBMIT.
const (
	KindTask   = 0
	KindCreate = 1
	KindCall   = 2
)

// States of an object's value.
type Where uint8

const (
	Pending Where = iota // not made yet, or not known here yet
	Inline               // Blob holds it
	Arena                // in this node's arena at Off
	Remote               // on the nodes of Locs
	Lost                 // was made; no copy is left
)

// Value is a blob with its place, as a frame or another node gives it.
type Value struct {
	Where Where
	Err   bool   // the blob is an error
	Blob  []byte // Inline; never changed afterwards
	Off   uint64 // Arena
	Size  uint64
	Nodes []spec.NodeID // Remote
	Refs  []spec.Ref    // references inside the blob
}

// Object is one entry of the table: an object owned here, or one that is owned
// elsewhere and referenced from here (a borrowed one). Read-only outside.
type Object struct {
	ID    spec.ObjectID
	Owner spec.NodeID // zero: owned here
	Where Where
	Err   bool
	// Primary tells that the copy in this node's arena is the one that must
	// not be evicted: the object is owned here, or held for its owner.
	Primary bool
	Blob    []byte
	Off     uint64
	Size    uint64
	Locs    []spec.NodeID // other nodes that have it
	Nested  []spec.Ref

	first   Client // most objects have one holder
	firstN  uint32
	more    map[Client]uint32
	pins    uint32 // arguments in flight, containing objects, transit
	lineage uint32 // kept tasks that would need it to run again
	hold    bool   // primary copy kept for a remote owner
	borrow  []spec.NodeID
	task    *Task // creator: unfinished, or kept for reconstruction

	sites   map[Client]string
	lostOn  spec.NodeID // where the last copy was, and what became of it
	lostWhy string

	waiters   []waiter
	adoptions []*Adoption
	borrowed  bool // the owner has been told that this node borrows it
	acked     bool // and has answered
	asked     bool // the owner was asked for the value
	pulling   bool
	evicted   bool // its lineage was given up
	loose     bool // pinned as an item until the value that refers to it is there
	sought    bool // copies that borrowers may have were asked for, and none has been found yet
	freed     bool // at a user's wish; the value is the error that says so
}

// Owned tells whether this node owns the object.
func (o *Object) Owned() bool { return o.Owner.IsZero() }

// Known tells whether a value exists somewhere.
func (o *Object) Known() bool { return o.Where == Inline || o.Where == Arena || o.Where == Remote }

// Here tells whether the value can be handed to a local client.
func (o *Object) Here() bool { return o.Where == Inline || o.Where == Arena }

// Pinned counts what keeps the object, for the memory view.
func (o *Object) Pinned() (local, pins, borrowers int) {
	n := int(o.firstN)
	for _, c := range o.more {
		n += int(c)
	}
	return n, int(o.pins), len(o.borrow)
}

// Holders calls f for each local client that holds the object.
func (o *Object) Holders(f func(Client)) {
	if o.first != 0 {
		f(o.first)
	}
	for c := range o.more {
		f(c)
	}
}

// Holder is a client that has been given the object, or 0.
func (o *Object) Holder() Client {
	if o.first != 0 {
		return o.first
	}
	for c := range o.more {
		return c
	}
	return 0
}

// Held tells whether this node holds the primary copy for a remote owner.
func (o *Object) Held() bool { return o.hold }

// Pulling tells whether a copy is being brought here.
func (o *Object) Pulling() bool { return o.pulling }

// Creator is the unfinished or kept task that makes the object, or nil.
func (o *Object) Creator() *Task { return o.task }

type waitKind uint8

const (
	waitGet  waitKind = iota // a client's GET
	waitWait                 // a client's WAIT
	waitTask                 // a task that needs it
	waitNode                 // another node that asked for the value
	waitHere                 // the daemon needs it in this node's memory
)

type waiter struct {
	kind  waitKind
	index uint32
	req   *Request
	task  *Task
	node  spec.NodeID
	token any
}

// wantsCopy tells whether the waiter needs the value in this node's memory.
func (w waiter) wantsCopy() bool {
	return w.kind == waitGet || w.kind == waitHere || w.kind == waitWait && w.req.Fetch
}

// Request is a GET or WAIT of a client that is not fully answered.
type Request struct {
	Client Client
	ID     uint32
	Fetch  bool // bring values here
	NoPin  bool // only fetch: the answer needs no pin
	left   int
	dead   bool
}

// States of a task.
type TaskState uint8

const (
	TaskWaiting TaskState = iota // for dependencies, or for its actor
	TaskReady                    // given to the scheduler
	TaskSent                     // an actor call on its way or running
	TaskDone
)

// Task is a task, actor creation or actor call that is owned here.
type Task struct {
	Spec
	Client  Client // who submitted it; 0 when gone
	State   TaskState
	Attempt int
	Retries int         // left; -1 without end
	Node    spec.NodeID // node that runs it; zero here or nowhere
	Run     any         // the daemon's record of its execution here
	Created int64       // Unix ms of its submission, set by the daemon
	// Cancelled tasks are never retried.
	Cancelled bool
	Items     uint32 // of a stream, so far
	Consumed  uint32
	yielded   uint32 // items of a stream that the present attempt has given
	large     int    // living items of a stream that are not inline; see keepItem
	again     bool   // an item that the present attempt has given is lost, and wanted

	missing int
	pinned  bool // its references are pinned
	kept    bool // lineage: done, kept to be run again
	actor   *Actor
	caller  Client // its call queue
	seq     uint64 // order of actor calls
	live    int    // returns in the table, while kept
	cost    uint64 // bytes, while kept
	before  *Task  // kept just before this one
	after   *Task
}

// Spec is a task as it travels.
type Spec struct {
	ID       spec.TaskID
	Parent   spec.TaskID
	Kind     uint8
	ArgsIn   bool // dependency 0 holds the arguments
	NReturns int
	Deps     []spec.Ref
	Refs     []spec.Ref
	Payload  []byte
	Tmpl     *Template
}

// Template is a parsed template with the daemon's number for it.
type Template struct {
	spec.Template
	Num   uint32
	JSON  []byte
	Class any // the daemon's scheduling class, cached
}

// Result is one return value of a task; Index 0 stands for every return.
type Result struct {
	Index uint32
	Value Value
}

// Statuses of DONE.
const (
	StatusOK        = 0
	StatusError     = 1
	StatusRetry     = 2
	StatusCancelled = 3
	StatusLastCall  = 4
	StatusExit      = 5
)

// Adoption is a set of references that another node handed over; when their
// owners know this node as a borrower, Adopted is emitted with Token.
type Adoption struct {
	Token any
	Node  spec.NodeID
	left  int
}
