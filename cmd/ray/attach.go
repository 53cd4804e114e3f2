package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/internal/launcher"
)

// attachCmd is `ray attach [FILE]`.
func attachCmd() *cobra.Command {
	var f launchFlags
	var r runFlags
	var fresh bool
	var ip string
	cmd := &cobra.Command{
		Use:   "attach [CLUSTER_CONFIG_FILE]",
		Short: "Open a shell on a cluster's head.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.check(); err != nil {
				return err
			}
			if fresh && r.mux() == launcher.NoMux {
				return usagef("--new needs --screen or --tmux.")
			}
			f.yes = true
			_, c, rest, err := f.open(cmd, args, cluster.Override{})
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return usagef("%q is no cluster file: its name must end in .yaml, .yml or .example.", rest[0])
			}
			s := streams(cmd)
			if s.TTY {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Shell on the head of %s; leave it with exit or Ctrl-D.\n", c.Config.Name)
			}
			return remoteStatus(cmd, "shell", r.around(cmd.Context(), c, func() error {
				line := r.mux().Line("", fresh)
				if ip != "" {
					return c.ExecOn(cmd.Context(), ip, line, s)
				}
				return c.Exec(cmd.Context(), line, nil, s)
			}))
		},
	}
	f.bind(cmd)
	r.bind(cmd)
	_ = cmd.Flags().MarkHidden("stop")
	cmd.Flags().BoolVarP(&fresh, "new", "N", false, "a new session of screen or tmux")
	cmd.Flags().StringVar(&ip, "node-ip", "", "a shell on the node with this address instead of the head")
	return cmd
}
