package main

import (
	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/internal/launcher"
)

// upCmd is `ray up FILE`.
func upCmd() *cobra.Command {
	var f launchFlags
	var o launcher.UpOptions
	var least, most int
	cmd := &cobra.Command{
		Use:     "up FILE",
		Aliases: []string{"create-or-update"},
		Short:   "Start a cluster, or make it what its file says.",
		Long: `Start the cluster that FILE describes, or make it what FILE says now.
FILE is a path, an http(s) URL, or - for standard input. The cluster becomes
the current one, so that later commands need no file. Run again with nothing
changed, it does nothing.`,
		Example: "  ray up cluster.yaml\n  ray up -y cluster.yaml --wait",
		Args:    exactArgs("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.NoRestart && o.RestartOnly {
				return usagef("--no-restart and --restart-only exclude each other.")
			}
			l, err := f.launcher(cmd)
			if err != nil {
				return err
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
			return c.Up(cmd.Context(), o)
		},
	}
	f.bind(cmd)
	f.bindYes(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.Wait, "wait", false, "return when min_workers workers have joined")
	flags.BoolVar(&o.NoRestart, "no-restart", false, "do not restart a head that runs")
	flags.BoolVar(&o.RestartOnly, "restart-only", false, "restart without running set-up commands")
	flags.IntVar(&least, "min-workers", 0, "replace the min_workers of the worker type, where there is one")
	flags.IntVar(&most, "max-workers", 0, "replace the max_workers of the file")
	return cmd
}
