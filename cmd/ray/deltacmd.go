package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ray/internal/sshx"
)

// deltaCmd is `ray __delta`: the host's side of a copy that sends only what has
// changed of large files.
func deltaCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "__delta", Hidden: true, Args: exactArgs(), RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use: "sign DIR", Short: "Sign the files that standard input names.", Args: exactArgs("dir"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return sshx.SignParts(cmd.OutOrStdout(), args[0], cmd.InOrStdin())
		},
	}, &cobra.Command{
		Use: "diff FILE", Short: "Write what makes this file of the one that standard input signs.", Args: exactArgs("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return sshx.DiffFile(cmd.Context(), cmd.OutOrStdout(), args[0], cmd.InOrStdin())
		},
	}, &cobra.Command{
		Use: "patch DIR", Short: "Make new files of the old ones and of what standard input brings.", Args: exactArgs("dir"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := sshx.PatchParts(args[0], cmd.InOrStdin())
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), n) // also where one failed: the others are there
			return err
		},
	})
	return cmd
}
