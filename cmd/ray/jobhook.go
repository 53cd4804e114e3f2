package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
)

// submitHook calls the Python function that RAY_JOB_SUBMIT_HOOK names with the
// options of `ray job submit`. One that ends its process, instead of
// returning, ends the submission with the same exit status.
func submitHook(cmd *cobra.Command, o *submitOptions, entrypoint []string) error {
	name := os.Getenv("RAY_JOB_SUBMIT_HOOK")
	if name == "" {
		return nil
	}
	returned, err := runHook(cmd, "ray._private.submit_hook", o.asKeywords(entrypoint))
	exit := new(exec.ExitError)
	switch {
	case len(returned) > 0:
		return nil
	case errors.As(err, &exit):
		return exitWith(max(exit.ExitCode(), exitFailed))
	case err != nil:
		return fmt.Errorf("RAY_JOB_SUBMIT_HOOK=%s: %w", name, err)
	}
	return exitWith(exitOK)
}

// runHook runs the Python module that calls a hook, with the options as JSON, and
// gives what it says once the hook has returned: nothing if that ends the process.
func runHook(cmd *cobra.Command, module string, options any) (said []byte, err error) {
	text, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	run, err := pythonModule(cmd, module)
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	run.Stdin, run.ExtraFiles = bytes.NewReader(text), []*os.File{write}
	if err = run.Start(); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	_ = write.Close()
	said, _ = io.ReadAll(read)
	return said, run.Wait()
}

// asKeywords names the options as upstream passes them to a hook: JSON texts
// of objects are objects already.
func (o *submitOptions) asKeywords(entrypoint []string) map[string]any {
	orNil := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	id := o.submissionID
	if id == "" {
		id = o.deprecatedName
	}
	k := map[string]any{
		"address": orNil(o.api.address), "job_id": orNil(id), "submission_id": orNil(id),
		"runtime_env": orNil(o.envFile), "runtime_env_json": orNil(o.envJSON), "working_dir": orNil(o.workingDir),
		"metadata_json": nil, "entrypoint": entrypoint, "no_wait": o.noWait,
		"entrypoint_num_cpus": o.cpus, "entrypoint_num_gpus": o.gpus, "entrypoint_memory": o.memory,
		"entrypoint_resources": nil, "entrypoint_label_selector": nil,
	}
	if o.metadata != nil {
		k["metadata_json"] = o.metadata
	}
	if o.resources != nil {
		k["entrypoint_resources"] = o.resources
	}
	if o.labelSelector != nil {
		k["entrypoint_label_selector"] = o.labelSelector
	}
	return k
}
