package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ray/internal/cluster"
	"ray/internal/launcher"
	"ray/internal/sshx"
)

// runFlags are the options of verbs that run something on the head.
type runFlags struct {
	start, stop  bool
	screen, tmux bool
	ports        []int
	screenArgs   string // more options for screen
}

func (r *runFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&r.start, "start", false, "start the cluster first if it has no head")
	flags.BoolVar(&r.stop, "stop", false, "take the cluster down afterwards")
	flags.BoolVar(&r.screen, "screen", false, "in a session of screen on the head")
	flags.BoolVar(&r.tmux, "tmux", false, "in a session of tmux on the head")
	flags.IntSliceVarP(&r.ports, "port-forward", "p", nil, "port to forward, the same here and there; may be repeated")
}

func (r *runFlags) check() error {
	if r.screen && r.tmux {
		return usagef("--screen and --tmux exclude each other.")
	}
	if r.screenArgs != "" && !r.screen {
		return usagef("--extra-screen-args needs --screen.")
	}
	return nil
}

// mux is the multiplexer that was asked for.
func (r *runFlags) mux() launcher.Mux {
	switch {
	case r.screen && r.screenArgs != "":
		return launcher.ScreenWith(r.screenArgs)
	case r.screen:
		return launcher.Screen
	case r.tmux:
		return launcher.Tmux
	}
	return launcher.NoMux
}

// detached says where what now runs in a multiplexer can be seen.
func (r *runFlags) detached(cmd *cobra.Command, file string) {
	if m := r.mux(); m != launcher.NoMux {
		name, _, _ := strings.Cut(string(m), " ")
		if file != "" {
			file = " " + sshx.Quote(file)
		}
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "It runs in %s on the head. See it with: ray attach%s --%s\n", name, file, name)
	}
}

// around runs do on the cluster's head: started before and taken down after,
// as asked, whatever do's outcome is.
func (r *runFlags) around(ctx context.Context, c *launcher.Cluster, do func() error) (err error) {
	if r.start {
		if err := c.Up(ctx, launcher.UpOptions{NoRestart: true}); err != nil {
			return err
		}
	}
	if r.stop {
		defer func() {
			err = errors.Join(err, c.Down(context.WithoutCancel(ctx), launcher.DownOptions{}))
		}()
	}
	if len(r.ports) > 0 {
		done, err := c.Forward(ctx, r.ports)
		if err != nil {
			return err
		}
		defer done()
	}
	return do()
}

// execCmd is `ray exec [FILE] CMD`.
func execCmd() *cobra.Command {
	var f launchFlags
	var r runFlags
	var where string
	cmd := &cobra.Command{
		Use:     "exec [CLUSTER_CONFIG_FILE] CMD",
		Short:   "Run a shell command on a cluster's head.",
		Example: "  ray exec 'nvidia-smi'\n  ray exec cluster.yaml 'ls -l' --start --stop",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.check(); err != nil {
				return err
			}
			if _, rest := launcher.Split(args); len(rest) == 0 {
				return usagef("Missing argument 'CMD'.")
			}
			f.yes = true // --start and --stop have been said
			_, c, rest, err := f.open(cmd, args, cluster.Override{})
			if err != nil {
				return err
			}
			if c.OnMachine, err = onMachine(where, strings.Join(rest, " ")); err != nil {
				return err
			}
			if r.mux() != launcher.NoMux && r.stop {
				return usagef("--stop would end the cluster while the command runs in %s; leave one of them out.", r.mux())
			}
			err = r.around(cmd.Context(), c, func() error {
				return c.Exec(cmd.Context(), r.mux().Line(strings.Join(rest, " "), false), nil, streams(cmd))
			})
			if err == nil {
				file, _ := launcher.Split(args)
				r.detached(cmd, file)
			}
			return remoteStatus(cmd, "command", err)
		},
	}
	f.bind(cmd)
	r.bind(cmd)
	cmd.Flags().StringVar(&where, "run-env", "auto", "where the file has a docker section: docker, host, or auto, the container unless the command is docker or podman")
	return cmd
}

// onMachine tells whether a command runs on the head's machine rather than in
// the container there.
func onMachine(where, line string) (bool, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch where {
	case "host":
		return true, nil
	case "docker":
		return false, nil
	case "auto":
		return first == "docker" || first == "podman", nil
	}
	return false, usagef("Invalid value for '--run-env': '%s' is not one of 'auto', 'host', 'docker'.", where)
}

// streams connects a command to this process: to its terminal, if that is what
// both ends of it are.
func streams(cmd *cobra.Command) launcher.Streams {
	s := launcher.Streams{In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}
	in, inFile := s.In.(*os.File)
	out, outFile := s.Out.(*os.File)
	s.TTY = inFile && outFile && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
	if inFile && term.IsTerminal(int(in.Fd())) && !s.TTY {
		s.In = nil // a command in the background must not read the terminal
	}
	return s
}

// remoteStatus passes the status of what ran on the head on.
func remoteStatus(cmd *cobra.Command, what string, err error) error {
	var exit *sshx.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if exit.Signal != "" {
		_, _ = fmt.Fprintf(io.Writer(cmd.ErrOrStderr()), "The %s was killed by signal %s (status %d).\n", what, exit.Signal, exit.Code)
	}
	return exitWith(exit.Code)
}
