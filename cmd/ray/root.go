package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Groups of `ray --help`.
const (
	groupCommands      = "commands"
	groupObservability = "observability"
)

// execute runs one command line and gives its exit status.
func execute(ctx context.Context, args []string) int {
	stderr := os.Stderr // a daemon moves os.Stderr into its log
	root := rootCmd()
	root.SetArgs(scriptOptions(root, longOptions(args)))
	cmd, err := root.ExecuteContextC(ctx)
	return report(ctx, cmd, err, stderr)
}

func rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:           "ray",
		Short:         "Launch a cluster, run Python on it, watch it, take it down.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if version, _ := cmd.Flags().GetBool("version"); version {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "ray, version", compatibleVersion)
				return err
			}
			return runRoot(cmd, args)
		},
	}
	root.Flags().BoolP("version", "v", false, "version for ray")
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true, RunE: func(cmd *cobra.Command, args []string) error {
		target, _, err := cmd.Root().Find(args)
		if err != nil {
			return err
		}
		return target.Help()
	}})
	// Accepted for upstream's command lines; our diagnostics need no format.
	root.PersistentFlags().String("logging-level", "info", "level of diagnostics: debug, info, warning, error")
	root.PersistentFlags().String("logging-format", "", "accepted and ignored")
	_ = root.PersistentFlags().MarkHidden("logging-format")
	_ = root.PersistentFlags().MarkHidden("logging-level")
	root.AddGroup(
		&cobra.Group{ID: groupCommands, Title: "Commands:"},
		&cobra.Group{ID: groupObservability, Title: "Observability:"},
	)
	addGroup(root, groupCommands, lifecycleCmds()...)
	addGroup(root, groupObservability, observabilityCmds()...)
	root.AddCommand(hiddenCmds()...)
	addUnsupported(root)
	setUsage(root)
	return root
}

func addGroup(root *cobra.Command, group string, cmds ...*cobra.Command) {
	for _, c := range cmds {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// runRoot is reached when no verb matches.
func runRoot(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return noSuchCommand(cmd, args[0])
}

func noSuchCommand(parent *cobra.Command, name string) error {
	var known []string
	for _, c := range parent.Commands() {
		if !c.Hidden {
			known = append(known, c.Name())
		}
	}
	if near := nearest(name, known); near != "" {
		return usagef("No such command '%s'. Did you mean '%s'?", name, near)
	}
	return usagef("No such command '%s'.", name)
}

// group makes a command that only holds others.
func group(use, short string, cmds ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: runRoot}
	c.AddCommand(cmds...)
	return c
}

// exactArgs wants n positional arguments and names what is missing.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("Missing argument '%s'.", strings.ToUpper(strings.ReplaceAll(names[len(args)], "-", "_")))
		}
		if len(args) > len(names) {
			return usagef("Got unexpected extra argument (%s)", strings.Join(args[len(names):], " "))
		}
		return nil
	}
}

// unsupported are upstream's verbs that this version does not have, and what
// to do instead.
var unsupported = []struct{ name, instead string }{
	{"kuberay-autoscaler", "clusters on Kubernetes are scaled by upstream's image"},
	{"debug", "attach a debugger to the worker whose pid `ray list workers` shows"},
	{"cpp", "there is no C++ API"},
	{"serve", "there is no Ray Serve"},
}

// addUnsupported registers what is not there yet, so that it says so instead
// of looking like a typing mistake.
func addUnsupported(root *cobra.Command) {
	have := map[string]bool{}
	for _, c := range root.Commands() {
		have[c.Name()] = true
	}
	for _, u := range unsupported {
		if have[u.name] {
			continue
		}
		root.AddCommand(&cobra.Command{
			Use: u.name, Hidden: true,
			DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return fmt.Errorf("not supported yet: ray %s: %s", u.name, u.instead)
			},
		})
	}
}
