package runtimeenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// step is one command of a plan.
type step struct {
	args []string
	env  []string // over the daemon's own
	dir  string
}

// String is the command as an error or a log shows it.
func (s step) String() string {
	words := make([]string, len(s.args))
	for i, w := range s.args {
		if w == "" || strings.ContainsAny(w, " \t\n'\"$&|<>;()*?") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words[i] = w
	}
	return masked(strings.Join(words, " "))
}

// killGrace is how long the pipes of a command that was ended stay open for
// what it has started.
const killGrace = 2 * time.Second

// runStep runs a command in a process group of its own and waits for it.
func runStep(ctx context.Context, s step, out *output) error {
	out.begin(s.String())
	cmd := exec.CommandContext(ctx, s.args[0], s.args[1:]...)
	cmd.Env, cmd.Dir = append(os.Environ(), s.env...), s.dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killGrace
	// The kernel sends the parent-death signal when the *thread* that made the
	// process ends: this goroutine keeps its thread until the process is over.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%w%s", context.Cause(ctx), out.end())
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return fmt.Errorf("a command failed with %s%s", exit.ProcessState, out.end())
	default:
		return fmt.Errorf("a command could not be run: %w%s", err, out.end())
	}
}

// runSteps runs a plan up to its first failure.
func runSteps(ctx context.Context, plan []step, out *output) error {
	for _, s := range plan {
		if err := runStep(ctx, s, out); err != nil {
			return err
		}
	}
	return nil
}

// firstFound gives the first program that exists: a path, or a name on PATH.
func firstFound(names []string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil && name != "" {
			return path
		}
	}
	return ""
}
