package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"ray/internal/spec"
)

func jobCmd() *cobra.Command {
	return group("job", "Submit jobs to a cluster and look after them.",
		jobSubmitCmd(), jobStatusCmd(), jobLogsCmd(), jobListCmd(), jobStopCmd(), jobDeleteCmd())
}

// jobVerb makes a verb of `ray job` that works on the jobs of a cluster.
type jobVerb struct {
	api  apiFlags
	json bool
	use  string
	help string
	// jsonHelp says what --json prints on standard output; what else there is
	// to say goes to standard error then.
	jsonHelp string
	args     cobra.PositionalArgs
	run      func(cmd *cobra.Command, j jobAPI, args []string) error
}

func (v *jobVerb) command() *cobra.Command {
	cmd := &cobra.Command{
		Use: v.use, Short: v.help, Args: v.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := openJobs(cmd.Context(), &v.api, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer j.close()
			return v.run(cmd, j, args)
		},
	}
	v.api.bind(cmd.Flags())
	cmd.Flags().BoolVar(&v.json, "json", false, v.jsonHelp)
	return cmd
}

// jsonRecord is the help of --json where it prints the record of a job.
const jsonRecord = "print the job's record as JSON; what else there is to say goes to standard error"

// said is where a verb speaks to people.
func (v *jobVerb) said(cmd *cobra.Command) io.Writer {
	if v.json {
		return cmd.ErrOrStderr()
	}
	return cmd.OutOrStdout()
}

// printRecord prints all that the cluster knows of a job, as JSON.
func (j jobAPI) printRecord(ctx context.Context, out io.Writer, id string) error {
	var record json.RawMessage
	if err := j.call(ctx, http.MethodGet, jobPath(id), nil, nil, &record); err != nil {
		return err
	}
	return printJSON(out, record)
}

func jobStatusCmd() *cobra.Command {
	v := &jobVerb{use: "status JOB_ID", help: "Show the status of a job.", jsonHelp: jsonRecord, args: exactArgs("job-id")}
	v.run = func(cmd *cobra.Command, j jobAPI, args []string) error {
		ctx, cancel := v.api.within(cmd.Context())
		defer cancel()
		if v.json {
			return j.printRecord(ctx, cmd.OutOrStdout(), args[0])
		}
		d, err := j.details(ctx, args[0])
		if err != nil {
			return err
		}
		return printJobStatus(cmd.OutOrStdout(), d, args[0])
	}
	return v.command()
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
	v := &jobVerb{use: "logs JOB_ID", help: "Print the output of a job.", jsonHelp: "print an object with submission_id and logs", args: exactArgs("job-id")}
	var follow bool
	v.run = func(cmd *cobra.Command, j jobAPI, args []string) error {
		if follow && v.json {
			return usagef("--json and --follow do not go together: the output of a job that runs is no JSON.")
		}
		out := cmd.OutOrStdout()
		if !follow {
			ctx, cancel := v.api.within(cmd.Context())
			defer cancel()
			text, err := j.logs(ctx, args[0])
			if err == nil && v.json {
				return printJSON(out, map[string]string{"submission_id": args[0], "logs": text})
			}
			_, _ = io.WriteString(out, text)
			return err
		}
		if err := j.follow(cmd.Context(), args[0], out, cmd.ErrOrStderr()); err != nil {
			return err
		}
		d, err := j.waitEnd(cmd.Context(), args[0], nil)
		if err != nil {
			return err
		}
		return conclude(cmd.ErrOrStderr(), d, args[0])
	}
	cmd := v.command()
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job ends")
	return cmd
}

// jobColumns are those of `ray job list`.
var jobColumns = []string{"submission_id", "job_id", "type", "status", "entrypoint", "runtime_env", "metadata", "message"}

func jobListCmd() *cobra.Command {
	v := &jobVerb{use: "list", help: "List all jobs of the cluster.", jsonHelp: "short for --format json", args: exactArgs()}
	var format string
	v.run = func(cmd *cobra.Command, j jobAPI, _ []string) error {
		ctx, cancel := v.api.within(cmd.Context())
		defer cancel()
		var reply listReply
		if err := j.call(ctx, http.MethodGet, "/api/jobs/", nil, nil, &reply.Rows); err != nil {
			return err
		}
		reply.Total = len(reply.Rows)
		if v.json {
			format = "json"
		}
		if format == "default" && reply.Total == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "[]")
			return err
		}
		o := listOptions{format: format}
		return o.print(cmd.OutOrStdout(), resource{"submission_id", jobColumns}, reply)
	}
	cmd := v.command()
	cmd.Flags().StringVar(&format, "format", "default", "default, json, yaml or table")
	return cmd
}

func jobStopCmd() *cobra.Command {
	v := &jobVerb{use: "stop JOB_ID", help: "Stop a job.", jsonHelp: jsonRecord, args: exactArgs("job-id")}
	var noWait bool
	v.run = func(cmd *cobra.Command, j jobAPI, args []string) error {
		if err := stopJob(cmd.Context(), j, &v.api, args[0], noWait, v.said(cmd)); err != nil || !v.json {
			return err
		}
		return j.printRecord(cmd.Context(), cmd.OutOrStdout(), args[0])
	}
	cmd := v.command()
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
	v := &jobVerb{use: "delete JOB_ID", help: "Forget a job that has ended.", jsonHelp: "print an object with submission_id and deleted", args: exactArgs("job-id")}
	v.run = func(cmd *cobra.Command, j jobAPI, args []string) error {
		ctx, cancel := v.api.within(cmd.Context())
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
		if v.json {
			return printJSON(cmd.OutOrStdout(), map[string]any{"submission_id": args[0], "deleted": true})
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "Job '%s' deleted successfully\n", args[0])
		return err
	}
	return v.command()
}
