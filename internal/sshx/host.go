package sshx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Command is one command line for a host's bash.
type Command struct {
	Line string
	// Env is set after the shell's own start-up files have run, so that it wins.
	Env    map[string]string
	Stdin  io.Reader // nil: no input
	Stdout io.Writer // nil: dropped
	Stderr io.Writer // nil: dropped; with TTY all output goes to Stdout
	// TTY connects the command to the caller's terminal; Stdin must be the
	// terminal. Window changes are passed on.
	TTY bool
	// Login runs the user's start-up files first, as an interactive login does.
	Login bool
}

// startUp takes over what ~/.bashrc sets for a user at a terminal: most such
// files end at once where the shell is not interactive, before the lines that
// installers, and setup commands, append. An interactive shell therefore reads
// it, without a terminal to take, and tells its variables and functions; not its
// aliases, by which rm may ask.
const startUp = `if [ -f ~/.bashrc ]; then if _ray_rc=$(mktemp 2>/dev/null); then ` +
	`$(command -v setsid) bash -ic '{ declare -p; declare -f; } >"$0"' "$_ray_rc" >/dev/null 2>&1 </dev/null; ` +
	`. "$_ray_rc" 2>/dev/null; rm -f "$_ray_rc"; else . ~/.bashrc >/dev/null 2>&1; fi; fi; `

// bash gives the flag and the quoted script with which a bash runs the command,
// or stays interactive without a line, in the host's variables and the command's.
func (c Command) bash(host map[string]string) string {
	var b strings.Builder
	flag := "-c"
	if c.Login {
		flag = "-lc"
		b.WriteString(startUp)
	}
	env := map[string]string{}
	maps.Copy(env, host)
	maps.Copy(env, c.Env)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		v := Quote(env[k])
		if rest, ok := strings.CutPrefix(env[k], "~/"); ok {
			v = `"$HOME"/` + Quote(rest)
		}
		if k == "PATH" || k == "PYTHONPATH" { // put in front of what the host has
			v += `"${` + k + `:+:$` + k + `}"`
		}
		b.WriteString("export " + k + "=" + v + "; ")
	}
	if c.Line == "" {
		b.WriteString("exec bash -i")
	} else {
		b.WriteString(c.Line)
	}
	return flag + " " + Quote(b.String())
}

// Filter says which files are left out of a copy.
type Filter struct {
	Exclude []string // patterns, as in rsync's --exclude
	Ignore  []string // names of files that hold more patterns for their directory, as .gitignore
}

// Host is one machine. Its methods may be called at the same time from several
// goroutines. Paths on the host may begin with ~/.
type Host interface {
	// Run runs a command to its end. A command that ran and failed is an
	// *ExitError; a host that could not be asked is a *ConnError. When ctx ends
	// the command is interrupted and then killed.
	Run(ctx context.Context, cmd Command) error
	// Upload copies a local file or directory to the path on the host. A
	// directory's contents go into the path, which is made; nothing is deleted.
	Upload(ctx context.Context, local, remote string, filter Filter) error
	// Download is the other direction.
	Download(ctx context.Context, remote, local string, filter Filter) error
	// WriteFile replaces a file at once, with its directory made.
	WriteFile(ctx context.Context, remote string, data []byte, mode fs.FileMode) error
	// ReadFile gives a file's contents; fs.ErrNotExist if it is not there.
	ReadFile(ctx context.Context, remote string) ([]byte, error)
	// Forward listens at the local address and connects each connection to the
	// address as the host sees it, until the Closer is closed.
	Forward(ctx context.Context, local, remote string) (io.Closer, error)
	// String names the host for people.
	String() string
	Close() error
}

// ExitError is a command that ran and did not succeed.
type ExitError struct {
	Code   int    // its status, or 128 + the signal's number
	Signal string // the name of the signal that ended it, as in KILL; else ""
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return "killed by signal " + e.Signal
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// Reasons why a host cannot be reached.
const (
	Refused   = "connection refused"
	TimedOut  = "timed out"
	Unknown   = "name not known"
	KeyBad    = "host key changed"
	AuthBad   = "authentication failed"
	Lost      = "connection lost"
	NoHostKey = "no key"
)

// ConnError is a host that could not be reached, or was lost.
type ConnError struct {
	Host   string
	Reason string // one of the constants
	Hint   string // what to do next
	Err    error
}

func (e *ConnError) Error() string {
	s := fmt.Sprintf("%s: %s", e.Host, e.Reason)
	if e.Err != nil {
		s += fmt.Sprintf(" (%v)", e.Err)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

func (e *ConnError) Unwrap() error { return e.Err }

// Passing tells whether waiting may help: the host may still be starting. A
// refused key may be a host whose set-up of keys is not done yet, which is why
// the caller gives authentication a short grace rather than none.
func (e *ConnError) Passing() bool {
	switch e.Reason {
	case Refused, TimedOut, Lost, AuthBad:
		return true
	}
	return false
}

// ExitCode is the status of a command that Run reports: 0 for nil, the
// command's own, and 255 if the host was not reached.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	}
	return 255
}

// Output runs a command and gives what it printed on standard output, without
// the last newline.
func Output(ctx context.Context, h Host, line string) (string, error) {
	var out, errOut strings.Builder
	err := h.Run(ctx, Command{Line: line, Stdout: &out, Stderr: &errOut})
	if err != nil && errOut.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(errOut.String()))
	}
	return strings.TrimRight(out.String(), "\n"), err
}

// Quote makes one word of s for a POSIX shell.
func Quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// quotePath is Quote for a path, in which a leading ~/ still means the home.
func quotePath(p string) string {
	if p == "~" {
		return "~"
	}
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		return "~/" + Quote(rest)
	}
	return Quote(p)
}
