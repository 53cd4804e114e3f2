package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"ray/internal/session"
	"ray/python"
)

// microbenchmarkCmd is `ray microbenchmark`.
func microbenchmarkCmd() *cobra.Command {
	return &cobra.Command{
		Use: "microbenchmark", Short: "Measure tasks, actors and objects on this machine.", Args: exactArgs(),
		Long: "Measure tasks, actors and objects on this machine, under upstream's names for the cases.\n" +
			"TESTS_TO_RUN and TESTS_TO_SKIP choose cases by a part of their names.",
		RunE: func(cmd *cobra.Command, _ []string) error { return runModule(cmd, "ray._private.ray_perf") },
	}
}

// sanityCheckCmd is `ray sanity-check`.
func sanityCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use: "sanity-check", Short: "Run one task in a cluster of its own.", Hidden: true, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runModule(cmd, "ray._private.sanity") },
	}
}

// pythonModule is a process that will run a module of the Python package with
// the Python that workers would have.
func pythonModule(cmd *cobra.Command, module string) (*exec.Cmd, error) {
	found := pythons("")
	if len(found) == 0 {
		return nil, errors.New("no Python was found: install python3, or name one by RAY_PYTHON")
	}
	dir, err := python.Extract(session.Root())
	if err != nil {
		return nil, err
	}
	run := exec.CommandContext(cmd.Context(), found[0], "-m", module)
	path := dir
	if old := os.Getenv("PYTHONPATH"); old != "" {
		path += ":" + old
	}
	run.Env = append(os.Environ(), "PYTHONPATH="+path)
	run.Stdin, run.Stdout, run.Stderr = os.Stdin, cmd.OutOrStdout(), cmd.ErrOrStderr()
	return run, nil
}

// runModule runs a module to its end.
func runModule(cmd *cobra.Command, module string) error {
	run, err := pythonModule(cmd, module)
	if err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := run.Run(); errors.As(err, &exit) {
		return exitWith(max(exit.ExitCode(), exitFailed))
	} else if err != nil {
		return fmt.Errorf("run %s: %w", run.Path, err)
	}
	return nil
}
