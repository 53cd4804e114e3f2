package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ray/internal/cluster"
)

// getHeadIPCmd is `ray get-head-ip [FILE]`.
func getHeadIPCmd() *cobra.Command {
	var f launchFlags
	cmd := &cobra.Command{
		Use:   "get-head-ip [CLUSTER_CONFIG_FILE]",
		Short: "Print the address of a cluster's head.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, c, _, err := f.open(cmd, args, cluster.Override{})
			if err != nil {
				return err
			}
			ip, err := c.HeadIP(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), ip)
			return err
		},
	}
	f.bind(cmd)
	return cmd
}
