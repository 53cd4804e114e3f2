package autoscaler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ray/internal/spec"
)

// Provider makes and removes machines. Calls may be slow; they run beside the
// loop. Errors wrap [ErrCapacity] or [ErrUnanswered] where these apply.
type Provider interface {
	// Launch makes one machine for each name and tags it with that name, so
	// that List gives it back. A name that has a machine already makes no
	// second one. It may return some machines together with an error. ways are
	// the offerings to try, in order, none if the type has none; the attempts
	// say what became of those that were tried.
	Launch(ctx context.Context, nodeType string, names []string, ways []spec.Offering) ([]Machine, []Attempt, error)
	// List gives all worker machines of the cluster that are not terminated.
	List(ctx context.Context) ([]Machine, error)
	// Terminate takes machines away. One that is gone already is no error.
	Terminate(ctx context.Context, ids []string) error
	// Stop keeps machines without running them, for later launches of their
	// type; it may take them away instead.
	Stop(ctx context.Context, ids []string) error
	// EndHead takes the head's machine away, or stops it, by what AutoStop
	// says. This may run there.
	EndHead(ctx context.Context) error
}

// Installer makes a node of a machine.
type Installer interface {
	// Install returns when the node daemon was started. It is called again
	// for the same machine after a restart of the head and must then finish
	// or repeat what was begun. The error says which step failed and how.
	Install(ctx context.Context, inst Instance) error
}

// ClusterView tells what the cluster consists of and what waits.
type ClusterView interface {
	// View returns values that the caller may keep.
	View(ctx context.Context) (View, error)
}

// Drainer asks nodes to leave.
type Drainer interface {
	// Drain returns nil when the node has agreed to leave. An error means
	// that it stays, for example because it has work again.
	Drain(ctx context.Context, d Drain) error
}

// Drain asks one node to take no new work and to leave.
type Drain struct {
	Node   spec.NodeID
	Reason string
	// Busy: it leaves when what it runs has ended; otherwise it is thought to be
	// idle, and refuses if it is not.
	Busy     bool
	Deadline time.Time // it ends in any case; zero is never
}

// InstanceStore keeps the instance table over restarts of the head.
type InstanceStore interface {
	Load(ctx context.Context) (Saved, error)
	// Save stores all of it or nothing; when it returns nil it is durable.
	Save(ctx context.Context, c Changes) error
}

// Options configure a Reconciler. All interfaces and NewID are required.
type Options struct {
	Config    Config
	Timing    Timing
	Provider  Provider
	Installer Installer
	View      ClusterView
	Drainer   Drainer
	Store     InstanceStore
	// NewID makes an instance ID that was never used before, also not by an
	// earlier head.
	NewID func(nodeType string) string
	// Emit is given each event, from the loop's goroutine; it must not block.
	Emit func(spec.Event)
	// MaxInstalls bounds set-ups at one time (20 if zero).
	MaxInstalls int
	// Tick is the longest time between two rounds (1 s if zero); Debounce is
	// how long a wake-up waits for more of them (20 ms if zero); ListEvery is
	// the time between listings while nothing changes (10 s if zero).
	Tick, Debounce, ListEvery time.Duration
}

// Time limits of actions.
const (
	launchLimit    = 10 * time.Minute
	drainLimit     = 30 * time.Second
	terminateLimit = 5 * time.Minute
	listLimit      = 2 * time.Minute
	storeLimit     = 30 * time.Second
)

// Reconciler runs a Manager against a real cluster.
type Reconciler struct {
	o       Options
	manager *Manager // owned by the loop
	cancel  context.CancelFunc
	work    sync.WaitGroup
	wake    chan struct{}
	slots   chan struct{} // for set-ups

	configErrors atomic.Int64
	troubled     int // rounds that could not be made

	mu      sync.Mutex
	results []Result
	listed  *listAnswer
	config  *Config // set, not yet taken by the loop
	report  Report
	rows    []Instance

	// Of the loop alone.
	unsaved  []Action // decided, but not begun because the table is not stored
	listing  bool     // a listing is under way
	asked    time.Time
	troubles map[string]string
}

// Start loads the table and begins to reconcile. Close ends it.
func Start(ctx context.Context, o Options) (*Reconciler, error) {
	setDefaults(&o)
	saved, err := o.Store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("autoscaler: load the instance table: %w", err)
	}
	loopCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &Reconciler{
		o: o, cancel: cancel, wake: make(chan struct{}, 1), slots: make(chan struct{}, o.MaxInstalls),
		troubles: map[string]string{}, rows: saved.Instances,
		manager: NewManager(ManagerOptions{
			Config: o.Config, Timing: o.Timing, Rows: saved.Instances, Memory: saved.Memory, Now: time.Now(), NewID: o.NewID,
		}),
	}
	r.report = r.manager.Report()
	r.work.Go(func() { r.loop(loopCtx) })
	return r, nil
}

func setDefaults(o *Options) {
	if o.MaxInstalls == 0 {
		o.MaxInstalls = 20
	}
	for d, value := range map[*time.Duration]time.Duration{
		&o.Tick: time.Second, &o.Debounce: 20 * time.Millisecond, &o.ListEvery: 10 * time.Second,
	} {
		if *d == 0 {
			*d = value
		}
	}
	if o.Emit == nil {
		o.Emit = func(spec.Event) {}
	}
}

// Close ends the loop and waits for it and for all actions under way, which
// are cancelled. What they left half-done is in the table and is taken up by
// the next Start.
func (r *Reconciler) Close() {
	r.cancel()
	r.work.Wait()
}

// Wake makes a round happen soon: call it when demand, nodes or constraints
// have changed. It never blocks.
func (r *Reconciler) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// SetConfig replaces the configuration.
func (r *Reconciler) SetConfig(c Config) {
	r.mu.Lock()
	r.config = &c
	r.mu.Unlock()
	r.Wake()
}

// Report is the state after the last round. The caller must not change it.
func (r *Reconciler) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report
}

// Instances are the rows of the table after the last round. The caller must
// not change them.
func (r *Reconciler) Instances() []Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rows
}

// Admits tells whether a node on the machine may join: not if the machine is
// being taken away. Machines that are not in the table are admitted.
func (r *Reconciler) Admits(cloudID string) bool {
	for _, row := range r.Instances() {
		if row.CloudID == cloudID && !row.State.Terminal() {
			return row.State.Serving()
		}
	}
	return true
}

func (r *Reconciler) loop(ctx context.Context) {
	ticker := time.NewTicker(r.o.Tick)
	defer ticker.Stop()
	for ctx.Err() == nil {
		begun := time.Now()
		r.list(ctx)
		r.round(ctx)
		r.manager.meter.took(countRounds, time.Since(begun).Seconds())
		// Wake-ups that come all the time must not keep a processor busy.
		rest := max(r.o.Debounce, time.Since(begun))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-r.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(rest):
			}
		}
	}
}

// round observes, decides, stores and acts. While the table cannot be stored
// nothing more is decided.
func (r *Reconciler) round(ctx context.Context) {
	if r.unsaved == nil {
		view, err := r.o.View.View(ctx)
		if r.trouble("read the cluster state", err) {
			return
		}
		r.unsaved = r.step(view)
	}
	if changes := r.manager.Unsaved(); !changes.Empty() {
		saveCtx, cancel := context.WithTimeout(ctx, storeLimit)
		err := r.o.Store.Save(saveCtx, changes)
		cancel()
		if r.trouble("store the instance table", err) {
			return
		}
		r.manager.Stored()
	}
	actions := r.unsaved
	r.unsaved = nil
	for _, a := range actions {
		r.work.Go(func() { r.finish(ctx, r.perform(ctx, a)) })
	}
	r.publish()
}

// step gives the manager what came in since the last round. Its result is
// never nil.
func (r *Reconciler) step(view View) []Action {
	r.mu.Lock()
	results, answer, config := r.results, r.listed, r.config
	r.results, r.listed, r.config = nil, nil, nil
	r.mu.Unlock()
	if config != nil {
		r.manager.SetConfig(*config)
	}
	var listing *Listing
	if answer != nil {
		r.listing = false
		if !r.trouble("list the machines", answer.err) {
			listing = &answer.listing
		}
	}
	actions := r.manager.Step(Observation{Now: time.Now(), View: view, Listing: listing, Results: results})
	return append([]Action{}, actions...)
}

func (r *Reconciler) publish() {
	for _, e := range r.manager.TakeEvents() {
		r.o.Emit(e)
	}
	report, rows := r.manager.Report(), r.manager.Table().All()
	report.Meter.add(countConfigErrors, int(r.configErrors.Load()))
	report.Meter.add(countLoopErrors, r.troubled)
	r.mu.Lock()
	r.report, r.rows = report, rows
	r.mu.Unlock()
}

// trouble says an error once when it begins and once when it has ended.
func (r *Reconciler) trouble(what string, err error) bool {
	if errors.Is(err, context.Canceled) {
		return true
	}
	if err != nil {
		r.troubled++
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if r.troubles[what] != text {
		e := spec.Event{TimeMS: time.Now().UnixMilli(), Severity: "INFO", Source: "autoscaler", Message: "The autoscaler can " + what + " again."}
		if err != nil {
			e.Severity, e.Message = "ERROR", fmt.Sprintf("The autoscaler cannot %s: %s. Scaling waits until it can.", what, text)
		}
		r.o.Emit(e)
		r.troubles[what] = text
	}
	return err != nil
}
