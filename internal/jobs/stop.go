package jobs

import (
	"context"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// Stop ends a submission: one that has not started is stopped at once, else
// its processes get SIGTERM and, after a grace, SIGKILL. It tells whether
// there was something to stop.
func (s *Service) Stop(id string) (bool, error) {
	j, ok := s.cluster.Job(id)
	if !ok || gcs.Terminal(j.Status) {
		return false, nil
	}
	id = j.SubmissionID
	s.mu.Lock()
	s.stopped[id] = true
	a := s.starts[id]
	s.mu.Unlock()
	if j.Status == spec.JobPending {
		_ = s.end(id, func(j *spec.Job) { j.Status, j.Message = spec.JobStopped, gcs.JobStoppedMessage })
		if a != nil {
			a.cancel()
		}
		s.changed(id)
		// The order to start may be with a node already: its id was stored
		// before the order was sent.
		if j, _ = s.cluster.Job(id); !j.NodeID.IsZero() {
			s.stopDriver(j.NodeID, id)
		}
		return true, nil
	}
	// Stored, so that a head that takes over asks for it, too.
	alive, err := s.cluster.UpdateJob(id, func(j *spec.Job) { j.Stopping = true })
	if err != nil || !alive {
		return false, err
	}
	s.stopDriver(j.NodeID, id)
	return true, nil
}

// stopDriver asks a node to end an entrypoint; the node tells the end. A node
// that is not connected, as after a restart of the head, is asked again until
// the job has ended.
func (s *Service) stopDriver(node spec.NodeID, id string) {
	stop := wire.DriverStop{SubmissionID: id, GraceMS: envSeconds("RAY_JOB_STOP_WAIT_TIME_S", defaultStopWait).Milliseconds()}
	s.work.Go(func() {
		for tries := 0; ; tries++ {
			ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
			_, err := s.cluster.CallNode(ctx, node, wire.MethodDriverStop, stop, nil, nil)
			cancel()
			if err == nil {
				return
			}
			if tries == 0 {
				s.log.Info("an entrypoint is not stopped yet", "job", id, "node", node, "err", err)
			}
			if s.pause(s.ctx, stopAgain) != nil {
				return
			}
			if j, ok := s.cluster.Job(id); !ok || gcs.Terminal(j.Status) {
				return
			}
		}
	})
}

// changed wakes those who wait for news of a job.
func (s *Service) changed(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch := s.news[id]; ch != nil {
		close(ch)
		delete(s.news, id)
	}
}

// watch gives the channel that is closed at the next change of a job.
func (s *Service) watch(id string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.news[id] == nil {
		s.news[id] = make(chan struct{})
	}
	return s.news[id]
}

// sleepOrChange waits for a change of a job, at most d.
func (s *Service) sleepOrChange(ctx context.Context, changed <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-changed:
	case <-t.C:
	}
	return nil
}
