package launcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"

	"ray/internal/sshx"
	"ray/providers"
)

// Streams are where a command's input and output go.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	TTY      bool // the caller's own terminal
}

// Exec runs a command line on the head and gives its outcome as Run of
// sshx.Host does.
func (c *Cluster) Exec(ctx context.Context, line string, extra map[string]string, s Streams) error {
	head, host, err := c.head(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	return c.run(ctx, head, host, line, extra, s)
}

func (c *Cluster) run(ctx context.Context, head providers.Instance, host sshx.Host, line string, extra map[string]string, s Streams) error {
	env := c.environment(ctx, head, host)
	line, err := c.withPackage(line, env)
	if err != nil {
		return err
	}
	maps.Copy(env, extra)
	return host.Run(ctx, sshx.Command{
		Line: line, Env: env, Stdin: s.In, Stdout: s.Out, Stderr: s.Err, TTY: s.TTY, Login: !c.Provider.Traits().SharedMachine,
	})
}

// withPackage makes `import ray` this program's package for what runs on the
// head, whatever else is installed there.
func (c *Cluster) withPackage(line string, env map[string]string) (string, error) {
	if c.l.Package == nil {
		return line, nil
	}
	dir, err := c.l.Package()
	if err != nil {
		return "", err
	}
	if c.Provider.Traits().SharedMachine {
		env["PYTHONPATH"] = strings.TrimSuffix(dir+string(os.PathListSeparator)+os.Getenv("PYTHONPATH"), string(os.PathListSeparator))
		return line, nil
	}
	// The head's node has put the same package at the same place there.
	if line == "" {
		line = "exec bash -i"
	}
	return "export PYTHONPATH=/tmp/ray-$(id -u)/" + filepath.Base(dir) + "${PYTHONPATH:+:$PYTHONPATH}; " + line, nil
}

// Forward opens ports: each is the same here and on the head.
func (c *Cluster) Forward(ctx context.Context, ports []int) (closeAll func(), err error) {
	_, host, err := c.head(ctx)
	if err != nil {
		return nil, err
	}
	closers := []io.Closer{host}
	closeAll = func() {
		for i := len(closers) - 1; i >= 0; i-- {
			_ = closers[i].Close()
		}
	}
	if c.Provider.Traits().SharedMachine {
		return closeAll, nil // the ports are here already
	}
	for _, p := range ports {
		f, err := host.Forward(ctx, fmt.Sprintf("localhost:%d", p), fmt.Sprintf("localhost:%d", p))
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("forwarding port %d: %w", p, err)
		}
		closers = append(closers, f)
	}
	return closeAll, nil
}

// Script is a program to submit.
type Script struct {
	Path string
	Args []string
	Line string // before Args: more of them, as the head's shell reads them
	Env  map[string]string
	// Mux leaves it running in a multiplexer on the head.
	Mux Mux
}

// Check tells whether the script can be submitted, before anything happens.
func (s Script) Check() error {
	info, err := os.Stat(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("script %s does not exist; nothing was run", s.Path)
	case err != nil:
		return fmt.Errorf("script: %w; nothing was run", err)
	case info.IsDir():
		return fmt.Errorf("script %s is a directory; give the Python file in it; nothing was run", s.Path)
	}
	f, err := os.Open(s.Path)
	if err != nil {
		return fmt.Errorf("script: %w; nothing was run", err)
	}
	return f.Close()
}

// Submit copies the script to the head and runs it there to its end.
func (c *Cluster) Submit(ctx context.Context, s Script, streams Streams) error {
	if err := s.Check(); err != nil {
		return err
	}
	head, host, err := c.head(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	name := filepath.Base(s.Path)
	if err := host.Upload(ctx, s.Path, "~/"+name, sshx.Filter{}); err != nil {
		return err
	}
	python, path := "python3", "~/"+sshx.Quote(name)
	if c.Provider.Traits().SharedMachine {
		python, path = Python(c.l.Ray), sshx.Quote("./"+name)
	}
	words := []string{sshx.Quote(python), path}
	if s.Mux == NoMux {
		words = append([]string{"exec"}, words...) // so that a signal that ends the script is seen as such
	}
	if s.Line != "" {
		words = append(words, s.Line)
	}
	for _, a := range s.Args {
		words = append(words, sshx.Quote(a))
	}
	env := map[string]string{"PYTHONUNBUFFERED": "1"}
	maps.Copy(env, s.Env)
	return c.run(ctx, head, host, s.Mux.Line(strings.Join(words, " "), false), env, streams)
}

// Python is the interpreter for drivers on this machine: the one beside the
// ray program that was called, the active virtual environment's, or python3.
func Python(ray string) string {
	candidates := []string{filepath.Join(filepath.Dir(ray), "python3")}
	if venv := os.Getenv("VIRTUAL_ENV"); venv != "" {
		candidates = append(candidates, filepath.Join(venv, "bin", "python3"))
	}
	for _, p := range candidates {
		if info, err := os.Stat(p); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return p
		}
	}
	return "python3"
}

// HeadIP is the head's address, as the cluster file wants it seen.
func (c *Cluster) HeadIP(ctx context.Context) (string, error) {
	head, err := c.theHead(ctx)
	if err != nil {
		return "", err
	}
	p := c.Config.Provider
	if p.Bool("use_internal_ips", false) && !p.Bool("use_external_head_ip", false) || head.ExternalIP == "" {
		return head.IP, nil
	}
	if ip := p.Text("external_head_ip"); ip != "" {
		return ip, nil
	}
	return head.ExternalIP, nil
}

// ReachDashboard gives the URL of the dashboard as it can be reached from
// here; done ends what was opened for that.
func (c *Cluster) ReachDashboard(ctx context.Context) (url string, done func(), err error) {
	_, host, err := c.head(ctx)
	if err != nil {
		return "", nil, err
	}
	a, alive, err := announced(ctx, host)
	if err == nil && !alive {
		err = fmt.Errorf("cluster %s: the head's machine is there, but no head runs on it; `ray up` sets it up again", c.Config.Name)
	}
	if err == nil && a.Dashboard == "" {
		err = fmt.Errorf("cluster %s was started without a dashboard", c.Config.Name)
	}
	if err != nil {
		return "", nil, errors.Join(err, host.Close())
	}
	if c.Provider.Traits().SharedMachine {
		return "http://" + a.Dashboard, func() { _ = host.Close() }, nil
	}
	f, err := host.Forward(ctx, "127.0.0.1:0", a.Dashboard)
	if err != nil {
		return "", nil, errors.Join(err, host.Close())
	}
	return "http://" + listening(f, a.Dashboard), func() { _ = f.Close(); _ = host.Close() }, nil
}

// listening is where a forwarded port is reached; otherwise, where the host is
// this machine and nothing needs forwarding.
func listening(f io.Closer, otherwise string) string {
	if l, ok := f.(interface{ Addr() net.Addr }); ok {
		return l.Addr().String()
	}
	return otherwise
}
