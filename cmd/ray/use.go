package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// useCmd is `ray use NAME`.
func useCmd() *cobra.Command {
	var f launchFlags
	return &cobra.Command{
		Use:   "use NAME",
		Short: "Choose the cluster that commands without a file mean.",
		Args:  exactArgs("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.launcher(cmd)
			if err != nil {
				return err
			}
			if err := l.Use(args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The current cluster is now %s.\n", args[0])
			return err
		},
	}
}
