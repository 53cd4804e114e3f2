package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// start finds a node and has it run the entrypoint.
func (s *Service) start(ctx context.Context, id string, req Request) {
	node, started, err := s.startSomewhere(ctx, id, req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && !node.IsZero() {
			s.stopDriver(node, id) // it may still be at it
		}
		s.startFailed(id, err)
		return
	}
	alive, err := s.cluster.UpdateJob(id, func(j *spec.Job) {
		j.Status, j.Message = spec.JobRunning, gcs.JobRunningMessage
		j.NodeID = node
		if j.DriverPID == 0 {
			j.DriverPID = started.PID
		}
	})
	s.mu.Lock()
	stop := s.stopped[id]
	s.mu.Unlock()
	if err == nil && !alive || stop { // it was stopped while it started
		s.stopDriver(node, id)
	}
}

// startSomewhere has a node run the entrypoint; one whose resources are taken
// in between is passed over.
func (s *Service) startSomewhere(ctx context.Context, id string, req Request) (node spec.NodeID, started wire.DriverStarted, err error) {
	run := wire.DriverRun{
		SubmissionID: id, Entrypoint: req.Entrypoint, RuntimeEnv: req.RuntimeEnv, Env: s.driverEnv(id, req), Resources: req.need(),
	}
	for {
		if node, err = s.place(ctx, id, req); err != nil {
			return node, started, unplacedError{err}
		}
		// Stored before the order is sent: whoever stops the job, this head or
		// the next one, has to ask that node.
		alive, err := s.cluster.UpdateJob(id, func(j *spec.Job) { j.NodeID = node })
		if err != nil {
			return node, started, err
		}
		if !alive {
			return spec.NodeID{}, started, unplacedError{context.Canceled}
		}
		call, cancel := s.runContext(ctx)
		_, err = s.cluster.CallNode(call, node, wire.MethodDriverRun, run, &started, nil)
		cancel()
		info := new(spec.ErrorInfo)
		if !errors.As(err, &info) || info.Type != wire.ErrNodeBusy {
			return node, started, err
		}
		if err := s.pause(ctx, pickEvery); err != nil {
			return node, started, unplacedError{fmt.Errorf("%w: %s", err, info.Message)}
		}
	}
}

// runContext ends at ctx's deadline, but not when ctx is cancelled: stopping a
// job that starts makes the node answer, and only its answer tells whether
// there is a process.
func (s *Service) runContext(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(runTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	return context.WithDeadline(s.ctx, end)
}

// unplacedError: no node was found in time, or the job was stopped before.
type unplacedError struct{ error }

func (e unplacedError) Unwrap() error { return e.error }

// startFailed notes that an entrypoint never ran.
func (s *Service) startFailed(id string, err error) {
	if s.ctx.Err() != nil {
		return // the next head starts it
	}
	info := new(spec.ErrorInfo)
	switch {
	case errors.As(err, new(unplacedError)):
		if errors.Is(err, context.DeadlineExceeded) {
			s.fail(id, errUnschedulable, fmt.Sprintf("No node could start the entrypoint within %s: %s", startTimeout(), err))
		}
	case errors.As(err, &info) && info.Type == "RuntimeEnvSetupError":
		s.fail(id, errRuntimeEnv, setupFailed(info))
	default:
		s.fail(id, errStart, "The entrypoint could not be started: "+err.Error())
	}
}

// Progress says in a job's message what its entrypoint waits for.
func (s *Service) Progress(p wire.DriverProgress) {
	_, err := s.cluster.UpdateJob(p.SubmissionID, func(j *spec.Job) {
		if j.Status == spec.JobPending {
			j.Message = gcs.JobPendingMessage + " It is waiting for the runtime environment to be set up: " + p.Text
		}
	})
	if err != nil {
		s.log.Warn("job status", "job", p.SubmissionID, "err", err)
	}
}

// setupFailed is the message of a job whose environment could not be made.
func setupFailed(info *spec.ErrorInfo) string {
	return "runtime_env setup failed: Failed to set up runtime environment.\n" + info.Message
}

// place waits for a node that takes the entrypoint.
func (s *Service) place(ctx context.Context, id string, req Request) (spec.NodeID, error) {
	said := ""
	for {
		node, reason := s.cluster.PickNode(req.need(), req.LabelSelector)
		if !node.IsZero() {
			return node, nil
		}
		if reason != said {
			said = reason
			if _, err := s.cluster.UpdateJob(id, func(j *spec.Job) { j.Message = gcs.JobPendingMessage + " It is waiting for resources: " + reason + "." }); err != nil {
				s.log.Warn("job status", "job", id, "err", err)
			}
		}
		if err := s.pause(ctx, pickEvery); err != nil {
			return node, fmt.Errorf("%w: %s", err, said)
		}
	}
}
