package main

import (
	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/internal/launcher"
)

// downCmd is `ray down [FILE|NAME]`.
func downCmd() *cobra.Command {
	var f launchFlags
	var o launcher.DownOptions
	cmd := &cobra.Command{
		Use:   "down [CLUSTER_CONFIG_FILE | NAME]",
		Short: "Take a cluster down: end all its machines.",
		Long: `End all machines of a cluster and forget it. The cluster is that of FILE, the
one called NAME, or the current one; -y without either works only while one
cluster exists. The command ends when the provider says that nothing is left.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !launcher.IsFile(args[0]) {
				f.cluster, args = args[0], nil
			}
			l, c, _, err := f.open(cmd, args, cluster.Override{})
			if err != nil {
				return err
			}
			if f.yes {
				if err := l.OnlyOne(c); err != nil {
					return err
				}
			}
			return c.Down(cmd.Context(), o)
		},
	}
	f.bind(cmd)
	f.bindYes(cmd)
	cmd.Flags().BoolVar(&o.WorkersOnly, "workers-only", false, "keep the head")
	cmd.Flags().BoolVar(&o.KeepMinWorkers, "keep-min-workers", false, "keep min_workers workers of each type; use with --workers-only")
	cmd.Flags().BoolVar(&o.AllResources, "all-resources", false, "remove also the keys, groups and roles that were made for the cluster")
	return cmd
}
