package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses of every verb. Commands that run a user's program
// (exec, submit, job submit) pass that program's status on instead.
const (
	exitOK          = 0
	exitFailed      = 1   // it was tried and did not work
	exitUsage       = 2   // the command line is wrong; nothing was tried
	exitInterrupted = 130 // Ctrl-C or SIGTERM ended it
)

// exitError gives an error its exit status.
type exitError struct {
	code int
	err  error // nil: everything has been said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usagef is the error of a wrong command line.
func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// exitWith ends the program with a status and says nothing more.
func exitWith(code int) error { return &exitError{code: code} }

// report prints the error, if there is something to say, and gives the exit
// status. A cancelled context tells that a signal has ended the command, which
// may see no more of it than that something it ran has failed.
func report(ctx context.Context, cmd *cobra.Command, err error, out io.Writer) int {
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		if errors.Is(err, context.Canceled) {
			_, _ = fmt.Fprintln(out, "Aborted.")
			return exitInterrupted
		}
		if ctx.Err() != nil {
			_, _ = fmt.Fprintf(out, "Aborted: %s\n", err)
			return exitInterrupted
		}
		exit = &exitError{code: exitFailed, err: err}
	}
	if exit.err == nil {
		return exit.code
	}
	if exit.code == exitUsage && cmd != nil && cmd.HasParent() {
		_, _ = fmt.Fprintf(out, "Usage: %s\nTry '%s --help' for help.\n\n", useLine(cmd), cmd.CommandPath())
	}
	_, _ = fmt.Fprintf(out, "Error: %s\n", exit.err)
	return exit.code
}

// flagError says what is wrong with an option, and names the nearest one
// that exists.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		if len(unknown.GetSpecifiedShortnames()) > 0 {
			return usagef("No such option '-%s'.", name)
		}
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				known = append(known, f.Name)
			}
		})
		if near := nearest(name, known); near != "" {
			return usagef("No such option '--%s'. Did you mean '--%s'?", name, near)
		}
		return usagef("No such option '--%s'.", name)
	}
	var missing *pflag.ValueRequiredError
	if errors.As(err, &missing) {
		return usagef("Option '%s' requires an argument.", optionName(missing.GetFlag(), len(missing.GetSpecifiedShortnames()) > 0))
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		what := "is not a valid " + valueNames[invalid.GetFlag().Value.Type()] + "."
		if valueNames[invalid.GetFlag().Value.Type()] == "" {
			what = "is not valid: " + errors.Unwrap(invalid).Error()
		}
		f, names := invalid.GetFlag(), ""
		if f.Shorthand != "" {
			names = "'-" + f.Shorthand + "' / "
		}
		return usagef("Invalid value for %s'--%s': '%s' %s", names, f.Name, invalid.GetValue(), what)
	}
	return usagef("%s", err)
}

// valueNames are kinds of values, as people call them.
var valueNames = map[string]string{
	"int": "integer", "int64": "integer", "uint16": "integer", "count": "integer", "float64": "float", "bool": "boolean", "duration": "duration",
}

func optionName(f *pflag.Flag, short bool) string {
	if short {
		return "-" + f.Shorthand
	}
	return "--" + f.Name
}

// nearest gives the name that is most like the given one, or "" if none is
// within a third of its length.
func nearest(name string, known []string) string {
	best, bestDistance := "", len(name)/3+2
	for _, k := range known {
		if d := editDistance(name, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and replacements between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
