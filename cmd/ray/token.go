package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"ray/internal/wire"
)

// readToken reads the token of a cluster whose daemon names its file.
func readToken(path string) (string, error) {
	auth, err := wire.LoadTokenFrom(func(name string) string {
		return map[string]string{"RAY_AUTH_TOKEN_PATH": path}[name]
	}, "")
	return auth.Token, err
}

// tokenFor is the token for a cluster: the user's own (the environment, or
// ~/.ray/auth_token), else that of the daemon's file, if it has one. Empty
// without an error if there is none, or none is needed.
func tokenFor(path string) (string, error) {
	auth, err := wire.LoadToken()
	if errors.Is(err, wire.ErrNoToken) {
		if path == "" {
			return "", nil // the cluster may want none; if it does, its answer says so
		}
		return readToken(path)
	}
	return auth.Token, err
}

// noToken tells whether the error of wire.LoadToken says that there is none.
func noToken(err error) bool {
	return errors.Is(err, wire.ErrNoToken) || errors.Is(err, fs.ErrNotExist)
}

// ensureToken finds the user's token and makes one if there is none yet.
func ensureToken() (wire.Auth, error) {
	auth, err := wire.LoadToken()
	if !noToken(err) {
		return auth, err
	}
	path := os.Getenv("RAY_AUTH_TOKEN_PATH")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return auth, fmt.Errorf("find a place for the token: %w; set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH", err)
		}
		path = wire.DefaultTokenPath(home)
	}
	return wire.CreateToken(path)
}

func getAuthTokenCmd() *cobra.Command {
	var generate bool
	cmd := &cobra.Command{
		Use:   "get-auth-token",
		Short: "Print the cluster token of this user.",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			auth, err := wire.LoadToken()
			if generate {
				auth, err = ensureToken()
			}
			if err != nil {
				return err
			}
			if auth.Disabled {
				return errors.New("RAY_AUTH_MODE=disabled: there is no token")
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), auth.Token) // no newline: $(ray get-auth-token) and pipes
			return err
		},
	}
	cmd.Flags().BoolVar(&generate, "generate", false, "make one if there is none")
	return cmd
}
