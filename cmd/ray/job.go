package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/spec"
)

func jobCmd() *cobra.Command {
	return group("job", "Submit jobs to a cluster and look after them.",
		jobSubmitCmd(), jobStatusCmd(), jobLogsCmd(), jobListCmd(), jobStopCmd(), jobDeleteCmd())
}

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

func jobStatusCmd() *cobra.Command {
	var f apiFlags
	cmd := &cobra.Command{
		Use: "status JOB_ID", Short: "Show the status of a job.", Args: exactArgs("job-id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := openJobs(cmd.Context(), &f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer j.close()
			ctx, cancel := f.within(cmd.Context())
			defer cancel()
			d, err := j.details(ctx, args[0])
			if err != nil {
				return err
			}
			return printJobStatus(cmd.OutOrStdout(), d, args[0])
		},
	}
	f.bind(cmd.Flags())
	return cmd
}

func printJobStatus(out io.Writer, d jobDetails, id string) error {
	if d.ended() {
		// Upstream boxes the end of a job, and prints a line while it runs.
		_, _ = fmt.Fprintln(out, boxed(fmt.Sprintf("Job '%s' %s", id, strings.ToLower(d.Status))))
	} else {
		_, _ = fmt.Fprintf(out, "Status for job '%s': %s\n", id, d.Status)
	}
	if d.Message == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "Status message: %s\n", d.Message)
	return err
}

func jobLogsCmd() *cobra.Command {
	var f apiFlags
	var follow bool
	cmd := &cobra.Command{
		Use: "logs JOB_ID", Short: "Print the output of a job.", Args: exactArgs("job-id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := openJobs(cmd.Context(), &f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer j.close()
			if !follow {
				ctx, cancel := f.within(cmd.Context())
				defer cancel()
				text, err := j.logs(ctx, args[0])
				_, _ = io.WriteString(cmd.OutOrStdout(), text)
				return err
			}
			if err := j.follow(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			d, err := j.waitEnd(cmd.Context(), args[0], nil)
			if err != nil {
				return err
			}
			return conclude(cmd.ErrOrStderr(), d, args[0])
		},
	}
	f.bind(cmd.Flags())
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job ends")
	return cmd
}

// jobColumns are those of `ray job list`.
var jobColumns = []string{"submission_id", "job_id", "type", "status", "entrypoint", "runtime_env", "metadata", "message"}

func jobListCmd() *cobra.Command {
	var f apiFlags
	var format string
	cmd := &cobra.Command{
		Use: "list", Short: "List all jobs of the cluster.", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			j, err := openJobs(cmd.Context(), &f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer j.close()
			ctx, cancel := f.within(cmd.Context())
			defer cancel()
			var reply listReply
			if err := j.call(ctx, http.MethodGet, "/api/jobs/", nil, nil, &reply.Rows); err != nil {
				return err
			}
			reply.Total = len(reply.Rows)
			if format == "default" && reply.Total == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "[]")
				return err
			}
			o := listOptions{format: format}
			return o.print(cmd.OutOrStdout(), resource{"submission_id", jobColumns}, reply)
		},
	}
	f.bind(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "default", "default, json, yaml or table")
	return cmd
}

func jobStopCmd() *cobra.Command {
	var f apiFlags
	var noWait bool
	cmd := &cobra.Command{
		Use: "stop JOB_ID", Short: "Stop a job.", Args: exactArgs("job-id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := openJobs(cmd.Context(), &f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer j.close()
			return stopJob(cmd.Context(), j, &f, args[0], noWait, cmd.OutOrStdout())
		},
	}
	f.bind(cmd.Flags())
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it has stopped")
	return cmd
}

func stopJob(ctx context.Context, j jobAPI, f *apiFlags, id string, noWait bool, out io.Writer) error {
	_, _ = fmt.Fprintf(out, "Attempting to stop job '%s'\n", id)
	var reply struct {
		Stopped bool `json:"stopped"`
	}
	short, cancel := f.within(ctx)
	defer cancel()
	if err := j.call(short, http.MethodPost, jobPath(id)+"/stop", nil, nil, &reply); err != nil {
		return err
	}
	if noWait {
		return nil
	}
	_, _ = fmt.Fprintf(out, "Waiting for job '%s' to exit (disable with --no-wait):\n", id)
	said := ""
	d, err := j.waitEnd(ctx, id, func(d jobDetails) {
		if d.Status != said {
			said = d.Status
			_, _ = fmt.Fprintf(out, "Job has not exited yet. Status: %s\n", d.Status)
		}
	})
	if err != nil {
		return err
	}
	what := map[string]string{spec.JobStopped: "was stopped", spec.JobSucceeded: "had already succeeded", spec.JobFailed: "had already failed"}[d.Status]
	_, err = fmt.Fprintf(out, "Job '%s' %s\n", id, what)
	return err
}

func jobDeleteCmd() *cobra.Command {
	var f apiFlags
	cmd := &cobra.Command{
		Use: "delete JOB_ID", Short: "Forget a job that has ended.", Args: exactArgs("job-id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := openJobs(cmd.Context(), &f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer j.close()
			ctx, cancel := f.within(cmd.Context())
			defer cancel()
			var reply struct {
				Deleted bool `json:"deleted"`
			}
			if err := j.call(ctx, http.MethodDelete, jobPath(args[0]), nil, nil, &reply); err != nil {
				return err
			}
			if !reply.Deleted {
				return fmt.Errorf("job '%s' was not deleted", args[0])
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Job '%s' deleted successfully\n", args[0])
			return err
		},
	}
	f.bind(cmd.Flags())
	return cmd
}
