package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/internal/launcher"
)

// upCmd is `ray up FILE`.
func upCmd() *cobra.Command {
	var f launchFlags
	var o launcher.UpOptions
	var least, most int
	var plan, asJSON, toFiles, login bool
	var onFailure string
	cmd := &cobra.Command{
		Use:     "up CLUSTER_CONFIG_FILE",
		Aliases: []string{"create-or-update"},
		Short:   "Start a cluster, or make it what its file says.",
		Long: `Start the cluster that FILE describes, or make it what FILE says now.
FILE is a path, an http(s) URL, or - for standard input. The cluster becomes
the current one, so that later commands need no file. Run again with nothing
changed, it does nothing.`,
		Example: "  ray up cluster.yaml\n  ray up -y cluster.yaml --wait",
		Args:    exactArgs("cluster-config-file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Remove = onFailure == "remove"; !o.Remove && onFailure != "keep" {
				return usagef("Invalid value for '--on-failure': '%s' is not one of 'keep', 'remove'.", onFailure)
			}
			o.PlainShells = o.PlainShells || !login
			if o.NoRestart && o.RestartOnly {
				return usagef("--no-restart and --restart-only exclude each other.")
			}
			l, err := f.launcher(cmd)
			if err != nil {
				return err
			}
			show := newProgress(cmd.OutOrStdout(), asJSON, f.verbose > 0 || toFiles, &f.look)
			if !plan {
				show.wire(l)
			}
			if toFiles {
				files := &outputFiles{next: l.Progress, open: map[string]*os.File{}}
				defer files.close()
				l.Progress = files.event
			}
			src := launcher.Source{File: args[0], Override: cluster.Override{Name: f.name}}
			if cmd.Flags().Changed("min-workers") {
				src.Override.MinWorkers = &least
			}
			if cmd.Flags().Changed("max-workers") {
				src.Override.MaxWorkers = &most
			}
			c, err := l.Select(cmd.Context(), src)
			if err != nil {
				return err
			}
			if plan {
				return showPlan(cmd, c, asJSON)
			}
			err = c.Up(cmd.Context(), o)
			show.done(err)
			return err
		},
	}
	f.bind(cmd)
	f.bindYes(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.Wait, "wait", false, "return when min_workers workers have joined")
	flags.StringVar(&onFailure, "on-failure", "keep", "what becomes of a head that this command made and could not set up: keep (for a look, or another try) or remove")
	flags.BoolVar(&plan, "plan", false, "only tell what would be done; exit status 2 if that is something")
	flags.BoolVar(&plan, "dry-run", false, "the same as --plan")
	flags.BoolVar(&asJSON, "json", false, "print JSON: with --plan the plan, else one event a line")
	flags.BoolVar(&o.NoRestart, "no-restart", false, "do not restart a head that runs")
	flags.BoolVar(&o.RestartOnly, "restart-only", false, "restart without running set-up commands")
	flags.BoolVar(&toFiles, "redirect-command-output", false, "write what each command prints to a file of its own instead of showing it")
	flags.BoolVar(&login, "use-login-shells", true, "run commands as an interactive login would, after the user's start-up files")
	flags.BoolVar(&o.PlainShells, "use-normal-shells", false, "run commands in plain shells, without the user's start-up files")
	flags.IntVar(&least, "min-workers", 0, "replace the min_workers of the worker type, where there is one")
	flags.IntVar(&most, "max-workers", 0, "replace the max_workers of the file")
	return cmd
}

// planHasChanges is the exit status of a plan that is not empty.
const planHasChanges = 2

func showPlan(cmd *cobra.Command, c *launcher.Cluster, asJSON bool) error {
	p, err := c.Plan(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), p)
	} else {
		_, err = fmt.Fprint(cmd.OutOrStdout(), p)
	}
	if err == nil && len(p.Changes) > 0 {
		err = exitWith(planHasChanges)
	}
	return err
}
