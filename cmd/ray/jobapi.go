package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"ray/internal/spec"
)

// jobDetails is the part of a job's record that is printed.
type jobDetails struct {
	Type         string `json:"type"`
	JobID        string `json:"job_id"`
	SubmissionID string `json:"submission_id"`
	Entrypoint   string `json:"entrypoint"`
	Status       string `json:"status"`
	Message      string `json:"message"`
	ExitCode     *int   `json:"driver_exit_code"`
}

func (j jobDetails) ended() bool {
	return j.Status == spec.JobSucceeded || j.Status == spec.JobFailed || j.Status == spec.JobStopped
}

// jobAPI adds the job calls to the cluster's HTTP interface.
type jobAPI struct{ *api }

func openJobs(ctx context.Context, f *apiFlags, out io.Writer) (jobAPI, error) {
	a, err := f.open(ctx)
	if err != nil {
		return jobAPI{}, err
	}
	_, err = fmt.Fprintf(out, "Job submission server address: %s\n", a.base)
	return jobAPI{a}, err
}

func jobPath(id string) string { return "/api/jobs/" + url.PathEscape(id) }

func (j jobAPI) details(ctx context.Context, id string) (jobDetails, error) {
	var d jobDetails
	return d, j.call(ctx, http.MethodGet, jobPath(id), nil, nil, &d)
}

func (j jobAPI) logs(ctx context.Context, id string) (string, error) {
	var reply struct {
		Logs string `json:"logs"`
	}
	err := j.call(ctx, http.MethodGet, jobPath(id)+"/logs", nil, nil, &reply)
	return reply.Logs, err
}

// waitEnd polls until the job has ended, also while the head restarts. each is
// told every status seen.
func (j jobAPI) waitEnd(ctx context.Context, id string, each func(jobDetails)) (jobDetails, error) {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	heard := time.Now()
	for {
		d, err := j.details(ctx, id)
		if refused := new(apiError); err != nil && (errors.As(err, &refused) || time.Since(heard) > followPatience) || err == nil && d.ended() {
			return d, err
		}
		if err == nil {
			heard = time.Now()
		}
		if err == nil && each != nil {
			each(d)
		}
		select {
		case <-ctx.Done():
			return d, ctx.Err()
		case <-tick.C:
		}
	}
}

// conclude says how the job ended; a job that failed or was stopped is exit status 1.
func conclude(out io.Writer, d jobDetails, id string) error {
	switch d.Status {
	case spec.JobSucceeded:
		_, err := fmt.Fprintf(out, "\n%s\n\n", boxed(fmt.Sprintf("Job '%s' succeeded", id)))
		return err
	case spec.JobStopped:
		_, _ = fmt.Fprintf(out, "\nJob '%s' was stopped\n", id)
	case spec.JobFailed:
		_, _ = fmt.Fprintf(out, "\n%s\n\nStatus message: %s\n\n", boxed(fmt.Sprintf("Job '%s' failed", id)), d.Message)
	default:
		return fmt.Errorf("the output of job '%s' ended, but its status is %s", id, d.Status)
	}
	return exitWith(exitFailed)
}
