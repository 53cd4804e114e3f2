package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ray/internal/cluster"
	"ray/internal/launcher"
	"ray/internal/session"
	"ray/providers/all"
	"ray/python"
)

// launchFlags are the options of every verb that takes a cluster.
type launchFlags struct {
	cluster string // --cluster: by name, from the state directory
	name    string // -n: replaces the file's cluster_name
	yes     bool
	verbose int
	look    look
}

func (f *launchFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.cluster, "cluster", os.Getenv("RAY_CLUSTER"), "the cluster, by the name that `ray clusters` shows (default: RAY_CLUSTER, else the current one)")
	flags.StringVarP(&f.name, "cluster-name", "n", "", "replace the cluster_name of the file")
	flags.CountVarP(&f.verbose, "verbose", "v", "show what commands print")
	f.look.bind(flags)
	// Nothing is cached, and nothing is told to anybody.
	for _, name := range []string{"no-config-cache", "disable-usage-stats"} {
		flags.Bool(name, false, "accepted and ignored")
		_ = flags.MarkHidden(name)
	}
}

func (f *launchFlags) bindYes(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "answer every question with yes")
}

// launcher wires the launcher to this process.
func (f *launchFlags) launcher(cmd *cobra.Command) (*launcher.Launcher, error) {
	root, err := launcher.StateRoot()
	if err != nil {
		return nil, err
	}
	out := f.look.writer(cmd.OutOrStdout())
	return &launcher.Launcher{
		Root: root, Ray: all.RayPath(), In: cmd.InOrStdin(), Out: out, ErrOut: cmd.ErrOrStderr(),
		Confirm:  func(question string) (bool, error) { return f.confirm(cmd, question) },
		Progress: progressLines(out, f.verbose > 0), Package: packageDir,
	}, nil
}

// packageDir is where the Python package lies on this machine.
func packageDir() (string, error) {
	if err := session.EnsureRoot(); err != nil {
		return "", err
	}
	return python.Extract(session.Root())
}

// open finds the cluster that the arguments and options mean, and gives the
// arguments that are left.
func (f *launchFlags) open(cmd *cobra.Command, args []string, override cluster.Override) (*launcher.Launcher, *launcher.Cluster, []string, error) {
	l, err := f.launcher(cmd)
	if err != nil {
		return nil, nil, nil, err
	}
	file, rest := launcher.Split(args)
	src := launcher.Source{File: file, Name: f.cluster, Override: override}
	if file == "" && src.Name == "" {
		src.Name = f.name
	}
	src.Override.Name = f.name
	c, err := l.Select(cmd.Context(), src)
	return l, c, rest, err
}

// confirm asks on the terminal. Where there is none, somebody must have said
// -y beforehand.
func (f *launchFlags) confirm(cmd *cobra.Command, question string) (bool, error) {
	out := cmd.ErrOrStderr()
	if f.yes {
		_, _ = fmt.Fprintf(out, "%s [y/N]: y [automatic, due to --yes]\n", question)
		return true, nil
	}
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return false, usagef("%s\nThere is no terminal to answer on: add -y to say yes.", question)
	}
	_, _ = fmt.Fprintf(out, "%s [y/N]: ", question)
	line, err := readLine(cmd.Context(), in)
	if err != nil {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

// readLine reads a line unless ctx ends first; the reader is then left to the
// end of the process.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		got <- answer{line, err}
	}()
	select {
	case a := <-got:
		return a.line, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
