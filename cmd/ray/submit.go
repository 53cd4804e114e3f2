package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"ray/internal/cluster"
	"ray/internal/launcher"
)

// submitCmd is `ray submit [FILE] SCRIPT [-- ARGS]`.
func submitCmd() *cobra.Command {
	var f launchFlags
	var r runFlags
	var env []string
	var joined string
	cmd := &cobra.Command{
		Use:   "submit [CLUSTER_CONFIG_FILE] SCRIPT [ARGS]...",
		Short: "Copy a Python script to a cluster's head and run it there.",
		Long: `Copy SCRIPT to the head and run it there as a driver of the cluster. Its output
appears here, and its exit status is this command's: 128 + n if signal n killed
it. What follows SCRIPT and is no option of this command's is the script's; all
that follows -- is.`,
		Example: "  ray submit job.py\n  ray submit --env KEY=value cluster.yaml job.py -- --rounds 3",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.check(); err != nil {
				return err
			}
			if r.mux() != launcher.NoMux && r.stop {
				return usagef("--stop would end the cluster while the script runs in %s; leave one of them out.", r.mux())
			}
			script, file, err := parseSubmit(args, cmd.ArgsLenAtDash(), joined)
			if err != nil {
				return err
			}
			script.Mux = r.mux()
			if script.Env, err = parseEnv(env); err != nil {
				return err
			}
			if err := script.Check(); err != nil {
				return err
			}
			f.yes = true
			_, c, _, err := f.open(cmd, file, cluster.Override{})
			if err != nil {
				return err
			}
			err = r.around(cmd.Context(), c, func() error {
				return c.Submit(cmd.Context(), script, streams(cmd))
			})
			if err == nil {
				r.detached(cmd, strings.Join(file, ""))
			}
			return remoteStatus(cmd, "script", err)
		},
	}
	f.bind(cmd)
	r.bind(cmd)
	cmd.Flags().StringArrayVar(&env, "env", nil, "environment variable for the script, as KEY=value (KEY alone passes yours on); may be repeated")
	cmd.Flags().StringVar(&r.screenArgs, "extra-screen-args", "", "more options for screen; with --screen")
	cmd.Flags().StringVar(&joined, "args", "", "the script's arguments in one text; use -- instead")
	_ = cmd.Flags().MarkHidden("args")
	return cmd
}

// parseSubmit takes the arguments apart; dash is how many stand before --, or
// -1. The file is given back as arguments, none if there is no file.
func parseSubmit(args []string, dash int, joined string) (launcher.Script, []string, error) {
	before, after := args, []string(nil)
	if dash >= 0 {
		before, after = args[:dash], args[dash:]
	}
	file, rest := launcher.Split(before)
	if len(rest) == 0 {
		return launcher.Script{}, nil, usagef("Missing argument 'SCRIPT'.")
	}
	s := launcher.Script{Path: rest[0], Args: append(rest[1:len(rest):len(rest)], after...), Line: joined}
	if file == "" {
		return s, nil, nil
	}
	return s, []string{file}, nil
}

func parseEnv(list []string) (map[string]string, error) {
	env := map[string]string{}
	for _, item := range list {
		k, v, given := strings.Cut(item, "=")
		if k == "" {
			return nil, usagef("Invalid value for '--env': %q is not KEY=value.", item)
		}
		if !given {
			var set bool
			if v, set = os.LookupEnv(k); !set {
				return nil, usagef("Invalid value for '--env': %s is not set here; give it a value with %s=value.", k, k)
			}
		}
		env[k] = v
	}
	return env, nil
}
