package sshx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// killAfter is how long an interrupted command may take to end.
const killAfter = 5 * time.Second

// Local is a host that is a directory and an environment on this machine.
type Local struct {
	Name string
	// Home is where commands start and what ~/ means in file operations; the
	// commands' own HOME stays the user's.
	Home string
	Env  map[string]string
	// Rewrite changes each command line before it runs; nil leaves it.
	Rewrite func(line string) string
	// Started is told each command's process id, which leads its own process
	// group; nil is nobody.
	Started func(pid int)
}

var _ Host = (*Local)(nil)

// String names the host.
func (l *Local) String() string { return l.Name }

// Close has nothing to do: a Local holds nothing.
func (l *Local) Close() error { return nil }

// Run implements Host. Without TTY the command leads a process group of its
// own, which an ended ctx interrupts and, 5 s later, kills.
func (l *Local) Run(ctx context.Context, c Command) error {
	line := c.Line
	if l.Rewrite != nil {
		line = l.Rewrite(line)
	}
	shell := []string{"bash", "-c", line}
	if line == "" {
		shell = []string{"bash"}
	}
	cmd := exec.CommandContext(ctx, shell[0], shell[1:]...)
	cmd.Dir, cmd.Env = l.Home, environ(l.Env, c.Env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.WaitDelay = killAfter
	if c.TTY {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		// The terminal has interrupted the command too; it gets its time.
		cmd.Cancel = func() error { return nil }
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	}
	if err := cmd.Start(); err != nil {
		return &ConnError{Host: l.Name, Reason: Lost, Err: err, Hint: "bash and the directory " + l.Home + " must be there"}
	}
	if l.Started != nil {
		l.Started(cmd.Process.Pid)
	}
	err := cmd.Wait()
	if ctx.Err() != nil && !c.TTY {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return exitError(err)
}

// exitError turns the outcome of a local command into the package's own. A
// command that ended well but left its output open (a daemon that it started)
// has ended well.
func exitError(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	case !errors.As(err, &exit):
		return err
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return &ExitError{Code: 128 + int(status.Signal()), Signal: signalName(status.Signal())}
	}
	return &ExitError{Code: exit.ExitCode()}
}

var signalNames = map[syscall.Signal]string{
	syscall.SIGHUP: "HUP", syscall.SIGINT: "INT", syscall.SIGQUIT: "QUIT", syscall.SIGILL: "ILL", syscall.SIGABRT: "ABRT",
	syscall.SIGBUS: "BUS", syscall.SIGFPE: "FPE", syscall.SIGKILL: "KILL", syscall.SIGSEGV: "SEGV", syscall.SIGPIPE: "PIPE",
	syscall.SIGALRM: "ALRM", syscall.SIGTERM: "TERM", syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2",
}

func signalName(s syscall.Signal) string {
	if n, ok := signalNames[s]; ok {
		return n
	}
	return fmt.Sprint(int(s))
}

// environ is this process's environment with the maps' values, later ones first.
func environ(maps ...map[string]string) []string {
	env := os.Environ()
	for _, m := range maps {
		for k, v := range m {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// Path is where a path of the host is on this machine.
func (l *Local) Path(p string) string {
	if p == "~" {
		return l.Home
	}
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		return filepath.Join(l.Home, rest)
	}
	if !filepath.IsAbs(p) {
		return filepath.Join(l.Home, p)
	}
	return p
}

// Upload implements Host. A path outside the host's home would be one of this
// machine's own files, and is refused unless it is the very file that is meant.
func (l *Local) Upload(ctx context.Context, local, remote string, filter Filter) error {
	to := l.Path(remote)
	from, err := filepath.Abs(local)
	if err != nil {
		return err
	}
	if from == to {
		return nil
	}
	if rel, err := filepath.Rel(l.Home, to); err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return fmt.Errorf("%s: a node of the process provider shares this machine's files, so %s cannot be copied to %s; use a path under ~/, which is the node's own directory", l.Name, local, remote)
	}
	return copyTree(ctx, from, to, filter)
}

// Download implements Host.
func (l *Local) Download(ctx context.Context, remote, local string, filter Filter) error {
	return copyTree(ctx, l.Path(remote), local, filter)
}

func copyTree(ctx context.Context, from, to string, filter Filter) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	dir, name := to, ""
	if !info.IsDir() {
		dir, name = filepath.Dir(to), filepath.Base(to)
	}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := writeTree(ctx, pw, from, name, filter, nil, nil)
		done <- err
		_ = pw.CloseWithError(err)
	}()
	err = readTree(ctx, pr, dir)
	_ = pr.CloseWithError(err)
	if werr := <-done; werr != nil {
		return werr
	}
	return err
}

// WriteFile implements Host.
func (l *Local) WriteFile(_ context.Context, remote string, data []byte, mode fs.FileMode) error {
	return replaceFile(l.Path(remote), bytes.NewReader(data), mode)
}

// ReadFile implements Host.
func (l *Local) ReadFile(_ context.Context, remote string) ([]byte, error) {
	return os.ReadFile(l.Path(remote))
}

// Forward implements Host; on one machine it only relays.
func (l *Local) Forward(ctx context.Context, local, remote string) (io.Closer, error) {
	return forward(ctx, local, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", remote)
	})
}

// forwarder relays connections of one listener.
type forwarder struct {
	listener net.Listener
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// Close stops the listener, ends its connections and waits for them.
func (f *forwarder) Close() error {
	f.cancel()
	err := f.listener.Close()
	f.wg.Wait()
	return err
}

// Addr is where the forwarder listens.
func (f *forwarder) Addr() net.Addr { return f.listener.Addr() }

func forward(ctx context.Context, local string, dial func(context.Context) (net.Conn, error)) (io.Closer, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", local)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &forwarder{listener: l, cancel: cancel}
	f.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() { relay(ctx, in, dial) })
		}
	})
	return f, nil
}

// relay copies both ways until both sides have ended or ctx has.
func relay(ctx context.Context, in net.Conn, dial func(context.Context) (net.Conn, error)) {
	defer in.Close()
	out, err := dial(ctx)
	if err != nil {
		return
	}
	defer out.Close()
	stop := context.AfterFunc(ctx, func() { _ = in.Close(); _ = out.Close() })
	defer stop()
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[1], pair[0])
			if c, ok := pair[1].(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite()
			}
		})
	}
	wg.Wait()
}
