package gcs

import (
	"cmp"
	"fmt"
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
)

// Types of jobs.
const (
	JobSubmission = "SUBMISSION"
	JobDriver     = "DRIVER"
)

// Messages of job statuses that users and clients know.
const (
	JobPendingMessage   = "Job has not started yet."
	JobRunningMessage   = "Job is currently running."
	JobStoppedMessage   = "Job was intentionally stopped."
	JobSucceededMessage = "Job finished successfully."
)

// Terminal tells whether a job with this status has ended.
func Terminal(status string) bool {
	return status == spec.JobStopped || status == spec.JobSucceeded || status == spec.JobFailed
}

// A submission's row is under its submission id. The drivers that connect
// have rows of their own under their job ids; one that belongs to a
// submission carries its id and is not listed apart.
func jobKey(j *spec.Job) string {
	if j.Type == JobSubmission {
		return j.SubmissionID
	}
	return j.JobID.String()
}

func (t *Tables) putJob(c *Change, j *spec.Job) {
	t.jobs[jobKey(j)] = j
	c.Sync = true
	c.putJSON(tableJobs, jobKey(j), j)
}

// endJob stores a row that is terminal now and forgets the oldest of those.
func (t *Tables) endJob(c *Change, j *spec.Job) {
	t.putJob(c, j)
	if j.Type == JobDriver && j.SubmissionID == "" {
		t.release(c, j)
	}
	if old, full := t.endedJobs.add(jobKey(j), keptJobs); full && old != jobKey(j) {
		if row := t.jobs[old]; row != nil {
			t.release(c, row)
		}
		delete(t.jobs, old)
		c.remove(tableJobs, old)
	}
}

// StartJob admits a driver and gives it the next job id. A driver with a
// submission id becomes the driver of that submission.
func (t *Tables) StartJob(j spec.Job, now int64) (spec.JobID, Change) {
	j.JobID = spec.JobIDFromInt(t.meta.NextJob)
	t.meta.NextJob++
	c := t.metaChange()
	t.admit(&c, j, now)
	return j.JobID, c
}

func (t *Tables) admit(c *Change, j spec.Job, now int64) {
	j.Type = JobDriver
	j.Status, j.Message = spec.JobRunning, JobRunningMessage
	if j.StartMS == 0 {
		j.StartMS = now
	}
	t.putJob(c, &j)
	if sub := t.jobs[j.SubmissionID]; sub != nil && j.SubmissionID != "" && !Terminal(sub.Status) {
		row := *sub
		row.JobID, row.DriverIP, row.DriverPID = j.JobID, j.DriverIP, j.DriverPID
		// Where the entrypoint runs is known since it was sent there; a ray://
		// driver of it may connect to another node.
		if row.NodeID.IsZero() {
			row.NodeID = j.NodeID
		}
		t.putJob(c, &row)
	}
}

// RejoinJob takes up a driver that a node tells of after a restart of the head.
func (t *Tables) RejoinJob(j spec.Job, now int64) (c Change) {
	if old := t.jobs[j.JobID.String()]; old != nil && !Terminal(old.Status) {
		return c
	}
	t.meta.NextJob = max(t.meta.NextJob, j.JobID.Int()+1)
	c.Merge(t.metaChange())
	t.admit(&c, j, now)
	return c
}

// FinishJob ends a driver's job and all that belongs to it.
func (t *Tables) FinishJob(id spec.JobID, reason string, failed bool, now int64) (c Change) {
	old := t.jobs[id.String()]
	if old == nil || Terminal(old.Status) {
		return c
	}
	row := *old
	row.EndMS = now
	row.Status, row.Message = spec.JobSucceeded, JobSucceededMessage
	if failed {
		row.Status, row.Message = spec.JobFailed, reason
	}
	t.endJob(&c, &row)
	c.Merge(t.endActorsOfJob(id, now))
	c.Merge(t.endGroupsOfJob(id, now))
	c.effect(JobFinished{wire.JobFinish{JobID: id, Reason: reason}}, Replan{})
	return c
}

// Submit adds a submission; the id must be new.
func (t *Tables) Submit(j spec.Job) (c Change, err error) {
	if t.jobs[j.SubmissionID] != nil {
		return c, fmt.Errorf("a job with submission_id %s already exists: please use a different submission_id", j.SubmissionID)
	}
	j.Type, j.Status, j.Message = JobSubmission, spec.JobPending, JobPendingMessage
	if len(j.Need) > 0 || len(j.NeedLabels) > 0 {
		j.Message += " It may be waiting for resources."
	}
	if len(j.RuntimeEnv) > 0 && string(j.RuntimeEnv) != "{}" {
		j.Message += " It may be waiting for the runtime environment to be set up."
	}
	t.putJob(&c, &j)
	return c, nil
}

// UpdateSubmission changes a submission's row by f; a row that has ended
// stays as it is.
func (t *Tables) UpdateSubmission(id string, f func(*spec.Job)) (c Change, ok bool) {
	old := t.jobs[id]
	if old == nil || old.Type != JobSubmission || Terminal(old.Status) {
		return c, false
	}
	row := *old
	f(&row)
	if Terminal(row.Status) {
		t.endJob(&c, &row)
	} else {
		t.putJob(&c, &row)
	}
	return c, true
}

// DeleteJob removes a submission that has ended.
func (t *Tables) DeleteJob(id string) (c Change) {
	if j := t.jobs[id]; j != nil && Terminal(j.Status) {
		delete(t.jobs, id)
		t.release(&c, j)
		c.Sync = true
		c.remove(tableJobs, id)
		t.endedJobs.keys = slices.DeleteFunc(t.endedJobs.keys, func(k string) bool { return k == id })
	}
	return c
}

// Job finds a job by submission id or job id (hex). The job id of a
// submission's driver finds the submission.
func (t *Tables) Job(id string) (spec.Job, bool) {
	j := t.jobs[id]
	if j == nil {
		return spec.Job{}, false
	}
	if j.Type == JobDriver && j.SubmissionID != "" && t.jobs[j.SubmissionID] != nil {
		j = t.jobs[j.SubmissionID]
	}
	return *j, true
}

// Jobs lists submissions, then drivers that belong to none, oldest first.
func (t *Tables) Jobs() []spec.Job {
	out := make([]spec.Job, 0, len(t.jobs))
	for _, j := range t.jobs {
		// The driver of a submission that was deleted is not shown any more.
		if j.Type == JobDriver && j.SubmissionID != "" && (t.jobs[j.SubmissionID] != nil || Terminal(j.Status)) {
			continue
		}
		out = append(out, *j)
	}
	slices.SortFunc(out, func(a, b spec.Job) int {
		return cmp.Or(-cmp.Compare(a.Type, b.Type), cmp.Compare(a.StartMS, b.StartMS), cmp.Compare(jobKey(&a), jobKey(&b)))
	})
	return out
}

// RunningDrivers are the drivers connected through a node.
func (t *Tables) RunningDrivers(node spec.NodeID) []spec.JobID {
	var out []spec.JobID
	for _, j := range t.jobs {
		if j.Type == JobDriver && j.NodeID == node && !Terminal(j.Status) {
			out = append(out, j.JobID)
		}
	}
	slices.SortFunc(out, func(a, b spec.JobID) int { return cmp.Compare(a.Int(), b.Int()) })
	return out
}
