package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ray/internal/session"
)

func getAuthTokenCmd() *cobra.Command {
	var generate bool
	cmd := &cobra.Command{
		Use:   "get-auth-token",
		Short: "Print the cluster token of this user.",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			find := session.Token
			if generate {
				find = func() (string, string, error) {
					token, path, _, err := session.EnsureToken()
					return token, path, err
				}
			}
			token, _, err := find()
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), token) // no newline: $(ray get-auth-token) and pipes
			return err
		},
	}
	cmd.Flags().BoolVar(&generate, "generate", false, "make one if there is none")
	return cmd
}
