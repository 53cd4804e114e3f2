package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"sync"
	"time"

	"ray/internal/objectstore"
	"ray/internal/session"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/machine"
	"ray/node/metrics"
	"ray/node/owner"
	"ray/node/pool"
	"ray/node/proc"
	"ray/node/runtimeenv"
	"ray/node/transfer"
)

// daemon is the running node. mu guards everything below it: frames are
// handled under it a batch at a time, the decisions' effects are appended to
// the buffers of connections, and the buffers are written after it is released.
type daemon struct {
	cfg      Config
	log      *slog.Logger
	self     spec.NodeID
	auth     wire.Auth
	start    time.Time
	oomKills machine.Kills

	store       *objectstore.Store
	procs       *proc.Manager
	head        *headLink
	envMaker    *runtimeenv.Manager
	fetcher     *transfer.Fetcher
	giver       *transfer.Server
	unix        *net.UnixListener
	port        *wire.Listener
	clientPorts []*wire.Listener
	sessions    *wire.Sessions // of other daemons
	remotes     *wire.Sessions // of ray:// drivers
	address     string
	// metricsAddress is the host:port of /metrics, recorded what programs measured.
	metricsAddress string
	recorded       metrics.Registry
	lease          lease // from the head
	hostname       string
	pid            int
	pythons        []string
	wake           chan struct{}

	connMu      sync.Mutex
	conns       map[net.Conn]struct{}
	connsClosed bool
	headMu      sync.Mutex
	headProc    *headProcess
	headLock    *session.Lock
	pyMu        sync.Mutex
	pyVersions  map[string]string

	ctx   context.Context
	stop  context.CancelCauseFunc
	tasks sync.WaitGroup // goroutines of the daemon

	mu                             sync.Mutex
	own                            *owner.State
	pool                           *pool.Pool
	clients                        map[owner.Client]*client
	byID                           map[string]*client // drivers and workers by client id, for control connections
	nextID                         owner.Client
	workers                        map[spec.WorkerID]*worker
	jobs                           map[spec.JobID]*job
	templates                      map[string]*owner.Template
	tmplNum                        uint32
	functions                      map[spec.FunctionID][]byte
	runs                           map[spec.TaskID]*run
	flood                          int // the most objects and tasks since the last ebb
	hosted                         map[spec.ActorID]*hosted
	early                          earlyKills
	modules                        string // that workers import first, with commas in between
	nodes                          map[spec.NodeID]spec.Node
	peers                          map[spec.NodeID]*peer
	collector                      collector
	away                           map[string]*awayRow
	detached                       map[spec.ActorID]bool
	streams                        map[spec.TaskID]*run // streaming tasks that run here
	pulls                          map[spec.ObjectID]*pulling
	block                          wire.ProcessBlock
	envs                           map[string]json.RawMessage // runtime environments by key
	startTries                     map[pool.Key]int
	rounds                         rounds
	slots                          []int // free slots of the arena's header
	adm                            admission
	sweep                          sweeping
	cluster                        wire.RegisterReply
	drivers                        map[string]*proc.Child
	driverStarts                   map[string]context.CancelFunc // of those that wait for their environment
	ticking                        bool
	placesDue, placesSent          bool
	lastPlaces, placesAt, lastBeat time.Time
	placesText, beatText           []byte
	beatSeq                        uint64
	nodesSeen                      int             // counts updates of nodes
	avoidGPUs                      bool            // scheduler_avoid_gpu_nodes
	keepQueued                     int             // tasks of a class that may wait here before the head is asked for other nodes
	arrivals                       uint64          // tasks that the head has sent here from other nodes, and actors
	beatSent                       *wire.Heartbeat // what the head has; nil = nothing
	beatChanged                    bool
	lastBusy                       time.Time
	held                           held
	events                         eventRing
	untraced                       bool // no task is listed by the state API
	ended                          endedWorkers
	drain                          *spec.Drain
	drainAt                        time.Time // when it began
	disksFull                      bool      // as last seen by the ticker
	recordSites                    bool      // where references are made is kept, for people
	inlineLimit                    int       // bytes; larger values are in the store
	unsent                         int       // ends of other nodes' tasks that wait to be told
	estate                         estate
	legacies                       map[spec.NodeID]*legacy
	down                           bool

	dirty   []*client
	scratch scratch
}

// scratch is memory that handlers reuse; under mu.
type scratch struct {
	submit wire.Submit
	done   wire.Done
	yield  wire.Yield
	push   wire.Push
	exec   wire.Exec
	deps   []wire.Dep
	ready  map[readyKey][]uint32
}

type readyKey struct {
	client  owner.Client
	request uint32
}

// job is a driver's run, as far as this node takes part in it.
type job struct {
	id     spec.JobID
	info   jobInfo
	driver *client // connected here, or nil
	dead   bool

	envTold time.Time // when its driver was last told of an environment in the making
}

// jobInfo is what workers of a job must know; it travels between nodes.
type jobInfo struct {
	ID     spec.JobID     `json:"id"`
	Python string         `json:"python"` // major.minor
	Driver spec.NodeID    `json:"driver"` // node that the driver is connected to
	Hello  *wire.HelloJob `json:"hello"`
	Local  bool           `json:"local"` // the driver runs on its node's machine
}

// task is a task that is owned here, with the record of its execution here:
// one allocation for both.
type task struct {
	owner.Task
	run run
}

// run is a task that this node has to execute, owned here or elsewhere.
type run struct {
	pool.Task
	spec    *owner.Spec
	task    *owner.Task // owned here; else nil
	from    spec.NodeID // owner, if elsewhere
	attempt int
	inc     int // incarnation, for actors and their calls
	caller  uint64
	missing int // arguments that are being brought here
	pinned  bool
	failed  *owner.Object   // an argument that is an error
	held    []spec.ObjectID // arguments pinned in the arena by the daemon
	counted []spec.ObjectID // large arguments, of an admitted task
	late    bool            // it waits to be admitted
	started int64           // ms
	taken   uint32          // items of the stream that its consumer has taken
	tree    *bool           // it was cancelled with its children; with force?
	actor   *hosted
	last    *worker // that had it
	seq     uint32
	over    bool
	adopted bool     // the owners of its references know this node
	result  *outcome // waits for adopted
	row     *awayRow // the slot that it was sent to
	slot    *slot
	sent    time.Time
	granted bool   // the head knows that it is on its way to another node
	room    bool   // an actor's creation: it begins at once or is refused
	raised  string // what its code has raised, for people
	// sentToData: it was forwarded to a node for the inputs that are there.
	sentToData bool
}

// worker is a worker process, from its start to its end.
type worker struct {
	id             spec.WorkerID
	key            pool.Key
	pid            int
	client         *client
	pw             *pool.Worker
	actor          *hosted
	killed         string // why we killed it, or endIdle, endMaxCalls
	exit           *proc.Exit
	begun          uint32 // task that it had begun when its connection ended
	lostConn, dead bool
	oom            bool // killed by our memory monitor
	forced         bool // killed by ray.cancel(force=True)
	kernel         bool // killed while the kernel ended processes for want of memory
	start          int64
}

func newDaemon(ctx context.Context, cfg Config) *daemon {
	d := &daemon{
		cfg: cfg, log: cfg.Log, self: spec.NewNodeID(), start: time.Now(),
		auth:       wire.Auth{Token: cfg.Token, Path: cfg.TokenPath, Disabled: cfg.AuthDisabled},
		clients:    map[owner.Client]*client{},
		byID:       map[string]*client{},
		workers:    map[spec.WorkerID]*worker{},
		jobs:       map[spec.JobID]*job{},
		templates:  map[string]*owner.Template{},
		functions:  map[spec.FunctionID][]byte{},
		runs:       map[spec.TaskID]*run{},
		hosted:     map[spec.ActorID]*hosted{},
		nodes:      map[spec.NodeID]spec.Node{},
		peers:      map[spec.NodeID]*peer{},
		away:       map[string]*awayRow{},
		detached:   map[spec.ActorID]bool{},
		streams:    map[spec.TaskID]*run{},
		legacies:   map[spec.NodeID]*legacy{},
		pulls:      map[spec.ObjectID]*pulling{},
		envs:       map[string]json.RawMessage{},
		startTries: map[pool.Key]int{}, rounds: rounds{},
		lastBusy: time.Now(),
		drivers:  map[string]*proc.Child{}, driverStarts: map[string]context.CancelFunc{},
		conns:      map[net.Conn]struct{}{},
		pyVersions: map[string]string{},
		wake:       make(chan struct{}, 1),
	}
	d.oomKills.Look(d.start, machine.OOMKills())
	if d.log == nil {
		d.log = slog.Default()
	}
	d.scratch.ready = map[readyKey][]uint32{}
	d.ctx, d.stop = context.WithCancelCause(ctx)
	d.own = owner.New(d.self)
	return d
}

// now is the pool's clock: µs since the daemon's start.
func (d *daemon) now() int64 { return int64(time.Since(d.start) / time.Microsecond) }

// locked runs f under the lock, carries out the effects and writes what they
// left in the connections' buffers.
func (d *daemon) locked(f func()) {
	d.mu.Lock()
	f()
	d.unlock()
}

// unlock ends a batch.
func (d *daemon) unlock() {
	d.pump()
	dirty := d.dirty
	d.dirty = nil
	for _, c := range dirty {
		c.dirty = false
	}
	d.mu.Unlock()
	for _, c := range dirty {
		// A lost connection is noticed by its reader.
		_ = c.out.Flush()
	}
	if cap(dirty) > 0 {
		clear(dirty)
		d.mu.Lock()
		if d.dirty == nil {
			d.dirty = dirty[:0]
		}
		d.mu.Unlock()
	}
}

// pump carries out effects until there are none.
func (d *daemon) pump() {
	for {
		oe := d.own.Effects()
		for i := range oe {
			d.ownerEffect(&oe[i])
		}
		pe := d.pool.Effects()
		for i := range pe {
			d.poolEffect(&pe[i])
		}
		if len(oe) == 0 && len(pe) == 0 && !d.adm.due {
			break
		}
		if d.adm.due {
			d.admitLate()
		}
	}
	d.flushReady()
}

// send marks a connection as having something to write.
func (d *daemon) send(c *client, f func(b []byte) []byte) {
	c.out.Append(f)
	d.mark(c)
}

func (d *daemon) mark(c *client) {
	if !c.dirty {
		c.dirty = true
		d.dirty = append(d.dirty, c)
	}
}

// control sends a frame on a client's control connection at once.
func (c *client) control(b []byte) {
	if c.ctl != nil {
		_ = c.ctl.Send(b) // a lost connection is noticed by its reader
	}
}
