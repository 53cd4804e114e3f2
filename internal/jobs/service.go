package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// Cluster is what the service needs of the head.
type Cluster interface {
	Jobs() []spec.Job
	Job(id string) (spec.Job, bool)
	// SubmitJob, UpdateJob and DeleteJob return once the change is stored.
	// UpdateJob tells whether the row was there and had not ended.
	SubmitJob(spec.Job) error
	UpdateJob(id string, f func(*spec.Job)) (bool, error)
	DeleteJob(id string) error
	// PickNode chooses where to run an entrypoint; without one, it says why.
	PickNode(need spec.Resources, labels map[string]string) (node spec.NodeID, reason string)
	// CallNode calls a node daemon.
	CallNode(ctx context.Context, node spec.NodeID, method string, in, out any, tail []byte) ([]byte, error)
	// HasPackage tells whether a package is there, for someone who will use it.
	HasPackage(uri string) (bool, error)
	PutPackage(uri string, data []byte) error
	SessionName() string
	// Address is the head's host:port for RAY_ADDRESS.
	Address() string
}

// Error types of jobs, upstream's names.
const (
	errRuntimeEnv    = "RUNTIME_ENV_SETUP_FAILURE"
	errUnschedulable = "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE"
	errDied          = "JOB_SUPERVISOR_ACTOR_DIED"
	errStart         = "JOB_ENTRYPOINT_COMMAND_START_ERROR"
	errCommand       = "JOB_ENTRYPOINT_COMMAND_ERROR"
)

// Timing that the environment may change, as upstream's does.
const (
	defaultStartTimeout = 900 * time.Second
	defaultStopWait     = 3 * time.Second
	pickEvery           = 200 * time.Millisecond
	stopAgain           = 200 * time.Millisecond
	callTimeout         = 10 * time.Second
	runTimeout          = 11 * time.Minute // an environment may have to be built first
	// lateExit is how long the end of an entrypoint that a node does not run
	// any more may take to be told.
	lateExit = 5 * time.Second
)

// Service follows submitted jobs. Its goroutines end with Close.
type Service struct {
	cluster Cluster
	log     *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu      sync.Mutex
	starts  map[string]*attempt      // submissions being started
	stopped map[string]bool          // told to stop, not yet ended
	news    map[string]chan struct{} // closed at the next change of a job
}

// attempt is the start of one job under way.
type attempt struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// New makes a service; Resume takes up what an earlier head left.
func New(c Cluster, log *slog.Logger) *Service {
	s := &Service{
		cluster: c, log: log, starts: map[string]*attempt{}, stopped: map[string]bool{},
		news: map[string]chan struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends every goroutine. Jobs run on.
func (s *Service) Close() {
	s.cancel()
	s.work.Wait()
}

// Resume starts the submissions that an earlier head had accepted but not
// started. It waits a moment, for a node may tell that one runs already.
func (s *Service) Resume() {
	var pending []string
	for _, j := range s.cluster.Jobs() {
		if j.Type == gcs.JobSubmission && j.Status == spec.JobPending {
			pending = append(pending, j.SubmissionID)
		}
	}
	if len(pending) == 0 {
		return
	}
	s.work.Go(func() {
		if s.pause(s.ctx, lateExit) != nil {
			return
		}
		for _, id := range pending {
			if j, ok := s.cluster.Job(id); ok && j.Status == spec.JobPending {
				s.begin(id, Request{Entrypoint: j.Entrypoint, RuntimeEnv: j.RuntimeEnv, Metadata: j.Metadata, Resources: j.Need.Floats(), LabelSelector: j.NeedLabels})
			}
		}
	})
}

func (s *Service) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Submit accepts a job and returns its id. It is started in the background.
func (s *Service) Submit(req Request) (string, error) {
	if req.SubmissionID == "" {
		req.SubmissionID = NewID()
	}
	err := s.cluster.SubmitJob(spec.Job{
		SubmissionID: req.SubmissionID, Entrypoint: req.Entrypoint, StartMS: time.Now().UnixMilli(),
		Metadata: req.Metadata, RuntimeEnv: req.RuntimeEnv, Need: req.need(), NeedLabels: req.LabelSelector,
	})
	if err != nil {
		return "", err
	}
	s.begin(req.SubmissionID, req)
	return req.SubmissionID, nil
}

func (s *Service) begin(id string, req Request) {
	ctx, cancel := context.WithTimeout(s.ctx, startTimeout())
	a := &attempt{cancel, make(chan struct{})}
	s.mu.Lock()
	s.starts[id] = a
	s.mu.Unlock()
	s.work.Go(func() {
		defer cancel()
		s.start(ctx, id, req)
		close(a.done)
		s.mu.Lock()
		if s.starts[id] == a {
			delete(s.starts, id)
		}
		s.mu.Unlock()
		s.changed(id)
	})
}

// fail ends a job that has not ended.
func (s *Service) fail(id, kind, message string) {
	_ = s.end(id, func(j *spec.Job) {
		j.Status, j.ErrorType, j.Message = spec.JobFailed, kind, message
	})
}

// end writes the end of a job into its row; an error has been logged.
func (s *Service) end(id string, f func(*spec.Job)) error {
	_, err := s.cluster.UpdateJob(id, func(j *spec.Job) {
		j.EndMS = time.Now().UnixMilli()
		f(j)
	})
	if err != nil {
		s.log.Error("the end of a job could not be stored", "job", id, "err", err)
	}
	s.mu.Lock()
	delete(s.stopped, id)
	s.mu.Unlock()
	s.changed(id)
	return err
}

// Exited takes the end of an entrypoint from the node that ran it. Without an
// error it is stored.
func (s *Service) Exited(e wire.DriverExited) error {
	s.mu.Lock()
	a := s.starts[e.SubmissionID]
	s.mu.Unlock()
	if a != nil { // a short one may end before its start is noted
		select {
		case <-a.done:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	s.mu.Lock()
	stopped := s.stopped[e.SubmissionID]
	s.mu.Unlock()
	if j, ok := s.cluster.Job(e.SubmissionID); ok && j.Stopping {
		stopped = true
	}
	tail := ""
	if !stopped && (e.ExitCode != 0 || e.Signal != 0) {
		tail = s.lastOutput(e.SubmissionID)
	}
	return s.end(e.SubmissionID, func(j *spec.Job) { describeEnd(j, e, stopped, tail) })
}

// describeEnd writes how a job ended into its row.
func describeEnd(j *spec.Job, e wire.DriverExited, stopped bool, tail string) {
	code := e.ExitCode
	if e.Signal != 0 {
		code = -e.Signal
	}
	if e.Error == nil {
		j.ExitCode = &code
	}
	short := ""
	if e.OutOfMemory {
		short = ": the kernel killed a process for want of memory at that moment (its count of such kills went up); use smaller data, fewer processes or a larger machine, or give entrypoint_memory"
	}
	switch {
	case stopped:
		j.Status, j.Message = spec.JobStopped, gcs.JobStoppedMessage
	case e.Error != nil:
		j.Status, j.ErrorType, j.Message = spec.JobFailed, errStart, "The entrypoint could not be started: "+e.Error.Message
		if e.Error.Type == "RuntimeEnvSetupError" {
			j.ErrorType, j.Message = errRuntimeEnv, setupFailed(e.Error)
		}
	case e.Signal != 0:
		j.Status, j.ErrorType = spec.JobFailed, errCommand
		j.Message = fmt.Sprintf("Job entrypoint command was killed by signal %d (%s)%s, last available logs (truncated to 20,000 chars):\n%s", e.Signal, syscall.Signal(e.Signal), short, tail)
	case e.ExitCode != 0:
		j.Status, j.ErrorType = spec.JobFailed, errCommand
		j.Message = fmt.Sprintf("Job entrypoint command failed with exit code %d%s, last available logs (truncated to 20,000 chars):\n%s", e.ExitCode, short, tail)
	default:
		j.Status, j.Message = spec.JobSucceeded, gcs.JobSucceededMessage
	}
}

// NodeGone fails the jobs whose entrypoint ran on a node that is dead.
func (s *Service) NodeGone(node spec.NodeID, reason string) {
	for _, j := range s.cluster.Jobs() {
		if j.Type == gcs.JobSubmission && j.Status == spec.JobRunning && j.NodeID == node {
			s.fail(j.SubmissionID, errDied, "The node that ran the entrypoint is gone: "+reason)
		}
	}
}

// Rejoined compares the table with the entrypoints that a node runs when it
// registers with a restarted head.
func (s *Service) Rejoined(node spec.NodeID, running []wire.DriverStarted) {
	there := map[string]bool{}
	for _, d := range running {
		there[d.SubmissionID] = true
		_, err := s.cluster.UpdateJob(d.SubmissionID, func(j *spec.Job) {
			j.Status, j.Message, j.NodeID = spec.JobRunning, gcs.JobRunningMessage, node
		})
		if err != nil {
			s.log.Warn("job status", "job", d.SubmissionID, "err", err)
		}
		if j, ok := s.cluster.Job(d.SubmissionID); ok && j.Stopping && !gcs.Terminal(j.Status) {
			s.mu.Lock()
			s.stopped[d.SubmissionID] = true
			s.mu.Unlock()
			s.stopDriver(node, d.SubmissionID)
		}
	}
	for _, j := range s.cluster.Jobs() {
		id := j.SubmissionID
		if j.Type != gcs.JobSubmission || j.Status != spec.JobRunning || j.NodeID != node || there[id] {
			continue
		}
		s.work.Go(func() { // its end may be on its way
			if s.pause(s.ctx, lateExit) == nil {
				s.fail(id, errDied, "The entrypoint ended while the head was away; its exit status is not known.")
			}
		})
	}
}

func startTimeout() time.Duration {
	return envSeconds("RAY_JOB_START_TIMEOUT_SECONDS", defaultStartTimeout)
}

func envSeconds(name string, fallback time.Duration) time.Duration {
	if v, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil && v >= 0 {
		return time.Duration(v * float64(time.Second))
	}
	return fallback
}
