package head

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"ray/internal/gcs"
	"ray/internal/jobs"
	"ray/internal/scheduler"
	"ray/internal/spec"
	"ray/internal/wire"
)

// processBlock is how many process numbers a node gets at a time.
const processBlock = 1024

// Head is a running head. Its state changes under one lock, held for
// computation only; what follows from a change is stored by the committer and
// goes out afterwards, in order.
type Head struct {
	cfg    Config
	log    *slog.Logger
	store  gcs.Store
	lease  time.Duration
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines that ctx ends
	wake   chan struct{}  // the scheduler has something to look at

	committer *gcs.Committer

	mu           sync.Mutex
	closing      bool
	tables       *gcs.Tables
	open         map[*nodeLink]bool
	links        map[spec.NodeID]*nodeLink // registered
	soft         map[spec.NodeID]*soft
	cluster      *scheduler.Cluster   // the scheduler's picture of the nodes
	askers       map[spec.NodeID]bool // nodes that want places for tasks
	warned       map[waiting]bool     // what drivers have been told of
	collected    time.Time            // when garbage was last collected for an actor that waits; zero: none waits
	groupWaiters map[spec.PlacementGroupID][]chan struct{}
	jobs         *jobs.Service
	pkgMu        sync.Mutex // held while the file of a package and its row change
	notice       spec.Drain // the cloud will take this machine away; zero if not
	events       []spec.Event
	giveUp       map[spec.PlacementGroupID]hopeless
	unborn       map[spec.ActorID]chan struct{} // asked for before they were created; closed then
	refused      map[any]*backoff               // groups and actors that a node has refused
	random       *mrand.Rand
	recovering   time.Time // until then, nodes of before the restart may come back
	lost         int       // nodes known at start that have not come back
	scaler       scaler    // nil without autoscaling
	ready        Ready
	failed       error // of the store: another head leads
}

// soft is what a node tells again and again, and what was promised to it.
type soft struct {
	told     wire.Heartbeat // by its own word
	beatSeq  uint64         // of the last heartbeat
	beat     wire.Heartbeat // as it counts
	seen     time.Time      // last word from it
	joined   bool           // it has registered with this head process
	probing  bool
	ending   bool        // a drained node that was told to end
	asked    *spec.Drain // on its way to the node, which may act before its answer is here
	rows     []wire.PlaceRow
	reasons  map[string]wire.Reason // last sent, by row key
	rowSince map[string]int64
}

// newHead reads the state back. Nothing runs until start.
func newHead(ctx context.Context, cfg Config, store gcs.Store) (*Head, error) {
	rows, term, err := store.Load()
	if err != nil {
		return nil, err
	}
	tables, err := gcs.Load(rows)
	if err != nil {
		return nil, err
	}
	if cfg.KeptActors > 0 {
		tables.KeptActors = cfg.KeptActors
	}
	h := &Head{
		cfg: cfg, log: cfg.Log, store: store, tables: tables,
		lease: time.Duration(cfg.LeaseMS) * time.Millisecond,
		wake:  make(chan struct{}, 1),
		open:  map[*nodeLink]bool{}, links: map[spec.NodeID]*nodeLink{}, soft: map[spec.NodeID]*soft{},
		warned: map[waiting]bool{}, giveUp: map[spec.PlacementGroupID]hopeless{}, unborn: map[spec.ActorID]chan struct{}{}, cluster: scheduler.New(), askers: map[spec.NodeID]bool{},
		groupWaiters: map[spec.PlacementGroupID][]chan struct{}{},
		refused:      map[any]*backoff{}, random: mrand.New(mrand.NewPCG(mrand.Uint64(), mrand.Uint64())),
	}
	if h.log == nil {
		h.log = slog.Default()
	}
	if h.lease <= 0 {
		h.lease = 10 * time.Second
	}
	h.ctx, h.cancel = context.WithCancel(ctx)
	h.jobs = jobs.New(cluster{h}, h.log)
	h.committer = gcs.NewCommitter(store, term, h.storeFailed)
	h.awaitNodes(time.Now())
	if tables.ClusterID() == "" {
		h.committer.Add(tables.SetClusterID(clusterID(cfg)).Writes, true, func(error) {})
	}
	return h, nil
}

func clusterID(cfg Config) string {
	if cfg.ClusterID != "" {
		return cfg.ClusterID
	}
	var b [spec.NodeIDSize]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// awaitNodes gives the nodes of an earlier head a full lease to come back.
func (h *Head) awaitNodes(now time.Time) {
	for _, n := range h.tables.Nodes() {
		if n.State != spec.NodeDead {
			h.soft[n.ID] = &soft{seen: now, beat: wire.Heartbeat{Total: n.Total, Available: spec.Resources{}}}
			h.lost++
		}
	}
	if h.lost > 0 {
		h.recovering = now.Add(h.lease + graceAfterLease)
		h.event("WARNING", "gcs", fmt.Sprintf("The head has started again; it waits for %d nodes to come back.", h.lost))
	}
}

// start runs the loops; close ends them.
func (h *Head) start() {
	h.work.Go(h.scheduleLoop)
	h.work.Go(h.leaseLoop)
	h.work.Go(h.packageLoop)
	h.jobs.Resume()
}

// close ends all sessions and loops and stores what is left. Nodes and what
// they run go on.
func (h *Head) close() {
	h.mu.Lock()
	h.closing = true
	open := make([]*nodeLink, 0, len(h.open))
	for l := range h.open {
		open = append(open, l)
	}
	h.mu.Unlock()
	h.cancel()
	var links sync.WaitGroup
	for _, l := range open {
		links.Go(func() { _ = l.peer.Close() })
	}
	links.Wait()
	h.jobs.Close()
	h.work.Wait()
	h.committer.Close()
}

func (h *Head) now() int64 { return time.Now().UnixMilli() }

// storeFailed runs on the committer's goroutine.
func (h *Head) storeFailed(err error) {
	h.log.Error("the control state could not be stored; it is tried again", "err", err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil {
		h.event("ERROR", "gcs", "The control state could not be stored: "+err.Error())
	}
	if err == gcs.ErrStaleTerm {
		h.failed = err
		h.cancel()
	}
}

// linkEnded runs when a session is over. A node whose session ended without a
// word is looked for at its port.
func (h *Head) linkEnded(l *nodeLink, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, l)
	if !h.closing {
		h.work.Go(func() { _ = l.peer.Close() })
	}
	if l.id.IsZero() || h.links[l.id] != l {
		return
	}
	delete(h.links, l.id)
	h.seeNode(l.id)
	if !h.closing {
		h.log.Info("the session with a node has ended", "node", l.id, "err", err)
		h.probe(l.id)
	}
}

// packageDir is where uploaded packages lie.
func (h *Head) packageDir() string {
	if h.cfg.StorePath != "" {
		return filepath.Join(filepath.Dir(h.cfg.StorePath), "packages")
	}
	return filepath.Join(h.cfg.SessionDir, "packages")
}
