package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// submitOptions are the flags of `ray job submit`.
type submitOptions struct {
	api          apiFlags
	submissionID string
	envFile      string
	envJSON      string
	workingDir   string
	noWait       bool
	json         bool

	metadata       map[string]string
	cpus, gpus     *float64
	memory         *float64
	resources      map[string]float64
	labelSelector  map[string]string
	deprecatedName string
}

func jobSubmitCmd() *cobra.Command {
	var o submitOptions
	cmd := &cobra.Command{
		Use:   "submit [OPTIONS] -- ENTRYPOINT...",
		Short: "Run a command on the cluster as a job.",
		Long:  "Run a command on the cluster as a job and show its output until it ends.\n\n  ray job submit --working-dir . -- python my_script.py",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("Missing argument 'ENTRYPOINT...'.")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	o.api.bind(f)
	f.StringVar(&o.submissionID, "submission-id", "", "id of the job (default: made up)")
	f.StringVar(&o.deprecatedName, "job-id", "", "old name of --submission-id")
	_ = f.MarkHidden("job-id")
	f.StringVar(&o.envFile, "runtime-env", "", "YAML or JSON file with the job's runtime environment")
	f.StringVar(&o.envJSON, "runtime-env-json", "", "the job's runtime environment as JSON")
	f.StringVar(&o.workingDir, "working-dir", "", "directory, .zip or .tar.gz, or URI of one, in which the job runs")
	f.Var(jsonFlag{&o.metadata}, "metadata-json", "strings to keep with the job, as JSON")
	f.Var(optional[float64]{&o.cpus, parseAmount}, "entrypoint-num-cpus", "CPUs that the entrypoint holds")
	f.Var(optional[float64]{&o.gpus, parseAmount}, "entrypoint-num-gpus", "GPUs that the entrypoint holds")
	f.Var(optional[float64]{&o.memory, parseBytes}, "entrypoint-memory", "bytes of memory that the entrypoint holds")
	f.Var(jsonFlag{&o.resources}, "entrypoint-resources", "custom resources that the entrypoint holds, as JSON")
	f.Var(jsonFlag{&o.labelSelector}, "entrypoint-label-selector", "labels of the node that the entrypoint runs on, as JSON")
	f.BoolVar(&o.noWait, "no-wait", false, "do not wait for the job's end")
	f.BoolVar(&o.json, "json", false, "print the job's record as JSON; its output and all else go to standard error")
	return cmd
}

func (o *submitOptions) run(cmd *cobra.Command, args []string) error {
	errOut := cmd.ErrOrStderr()
	if o.deprecatedName != "" {
		_, _ = fmt.Fprintln(errOut, "--job-id option is deprecated. Please use --submission-id instead.")
	}
	if err := submitHook(cmd, o, args); err != nil {
		return err
	}
	env, err := readRuntimeEnv(o.envFile, o.envJSON, o.workingDir, errOut)
	if err != nil {
		return err
	}
	j, err := openJobs(cmd.Context(), &o.api, errOut)
	if err != nil {
		return err
	}
	defer j.close()
	ctx := cmd.Context()
	if err := shipRuntimeEnv(ctx, j.api, env, errOut); err != nil {
		return err
	}
	id, err := o.submit(ctx, j, env, joinEntrypoint(args))
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if o.json {
		out = errOut
	}
	_, _ = fmt.Fprintf(out, "\n%s\n\nNext steps\n  Query the logs of the job:\n    ray job logs %s\n  Query the status of the job:\n    ray job status %s\n  Request the job to be stopped:\n    ray job stop %s\n\n",
		boxed(fmt.Sprintf("Job '%s' submitted successfully", id)), id, id, id)
	if o.noWait {
		return o.record(ctx, cmd, j, id)
	}
	_, _ = fmt.Fprintln(out, "Tailing logs until the job exits (disable with --no-wait):")
	if err := j.follow(ctx, id, out, errOut); err != nil {
		if errors.Is(err, context.Canceled) {
			_, _ = fmt.Fprintf(errOut, "\nThe job goes on: `ray job logs -f %s` shows it, `ray job stop %s` ends it.\n", id, id)
		}
		return err
	}
	d, err := j.waitEnd(ctx, id, nil)
	if err != nil {
		return err
	}
	if err := o.record(ctx, cmd, j, id); err != nil {
		return err
	}
	return conclude(out, d, id)
}

// record prints the job's record where it is asked for.
func (o *submitOptions) record(ctx context.Context, cmd *cobra.Command, j jobAPI, id string) error {
	if !o.json {
		return nil
	}
	return j.printRecord(ctx, cmd.OutOrStdout(), id)
}

// submit sends the request and gives the job's id.
func (o *submitOptions) submit(ctx context.Context, j jobAPI, env map[string]any, entrypoint string) (string, error) {
	body := map[string]any{"entrypoint": entrypoint}
	set := func(name string, value any, given bool) {
		if given {
			body[name] = value
		}
	}
	if o.submissionID == "" {
		o.submissionID = o.deprecatedName
	}
	set("submission_id", o.submissionID, o.submissionID != "")
	set("runtime_env", env, len(env) > 0)
	set("metadata", o.metadata, len(o.metadata) > 0)
	set("entrypoint_num_cpus", o.cpus, o.cpus != nil)
	set("entrypoint_num_gpus", o.gpus, o.gpus != nil)
	set("entrypoint_memory", o.memory, o.memory != nil)
	set("entrypoint_resources", o.resources, len(o.resources) > 0)
	set("entrypoint_label_selector", o.labelSelector, len(o.labelSelector) > 0)
	var reply struct {
		SubmissionID string `json:"submission_id"`
	}
	short, cancel := o.api.within(ctx)
	defer cancel()
	err := j.call(short, http.MethodPost, "/api/jobs/", nil, body, &reply)
	return reply.SubmissionID, err
}

// joinEntrypoint makes one shell command of the arguments. A single argument
// is a command already; several are quoted so that they stay what they were.
func joinEntrypoint(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shellQuote(a)
	}
	return strings.Join(quoted, " ")
}

func shellQuote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%_-+=:,./", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}
