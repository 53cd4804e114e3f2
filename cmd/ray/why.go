package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ray/internal/statustext"
)

func whyCmd() *cobra.Command {
	address := ""
	cmd := &cobra.Command{
		Use:   "why ID",
		Short: "Say why something waits, runs where it does, or has ended.",
		Long: "Explain one task, actor, placement group, node, machine or job of a cluster: its id, the first digits of it,\n" +
			"or its name. The cluster is chosen as by ray status.",
		Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, closeTarget, err := findTarget(cmd.Context(), "", address)
			if err != nil {
				return err
			}
			defer closeTarget()
			status, err := newDashboard(target).Status(cmd.Context())
			if err != nil {
				return err
			}
			lines := statustext.Why(status, args[0])
			if len(lines) == 0 {
				ended, err := whyEnded(cmd.Context(), target, args[0])
				if err != nil {
					return err
				}
				if ended != "" {
					lines = []string{ended}
				}
			}
			if len(lines) == 0 {
				return fmt.Errorf("nothing that waits or lives in this cluster is called %s: ray list tasks (actors, nodes, jobs) also shows what has ended", args[0])
			}
			for _, line := range lines {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "head's host:port, or http://host:port of its dashboard")
	return cmd
}
