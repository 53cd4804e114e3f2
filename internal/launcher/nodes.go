package launcher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
)

// ip is an instance's address, as the cluster file wants it seen.
func (c *Cluster) ip(i providers.Instance) string {
	p := c.Config.Provider
	if i.ExternalIP == "" || p.Bool("use_internal_ips", false) && !(i.Kind == providers.Head && p.Bool("use_external_head_ip", false)) {
		return i.IP
	}
	return i.ExternalIP
}

// Nodes are the instances that exist, the head first if there is one.
func (c *Cluster) Nodes(ctx context.Context) ([]providers.Instance, error) {
	head, workers, err := c.live(ctx)
	if head != nil {
		workers = append([]providers.Instance{*head}, workers...)
	}
	return workers, err
}

// WorkerIPs are the addresses of the workers that exist.
func (c *Cluster) WorkerIPs(ctx context.Context) ([]string, error) {
	_, workers, err := c.live(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, w := range workers {
		out = append(out, c.ip(w))
	}
	return out, nil
}

// ExecOn is Exec on the node with an address, which may be a worker.
func (c *Cluster) ExecOn(ctx context.Context, ip, line string, s Streams) error {
	head, workers, err := c.live(ctx)
	if err != nil {
		return err
	}
	if head != nil {
		workers = append(workers, *head)
	}
	for _, i := range workers {
		if i.IP != ip && i.ExternalIP != ip && i.ID != ip {
			continue
		}
		host, err := c.connect(ctx, i)
		if err != nil {
			return err
		}
		defer host.Close()
		return c.run(ctx, i, host, line, nil, s)
	}
	return fmt.Errorf("cluster %s has no node with the address %s; `ray get-worker-ips` lists them", c.Config.Name, ip)
}

// Mux is a terminal multiplexer on the head.
type Mux string

// Multiplexers.
const (
	NoMux  Mux = ""
	Screen Mux = "screen"
	Tmux   Mux = "tmux"
)

// ScreenWith is Screen with more options of its own.
func ScreenWith(options string) Mux { return Mux("screen " + options) }

// Line is the command that runs line in a new session which nobody is attached
// to, or, with no line, attaches: to a session that is there, else a new one.
func (m Mux) Line(line string, fresh bool) string {
	shell := "bash -c " + sshx.Quote(line+"; exec bash")
	switch {
	case m == NoMux:
		return line
	case line != "" && m == Tmux:
		return "tmux new -d " + sshx.Quote(shell)
	case line != "":
		return "screen -L " + strings.TrimLeft(strings.TrimPrefix(string(m), "screen")+" ", " ") + "-dm " + shell
	case m == Tmux && fresh:
		return "exec tmux new"
	case m == Tmux:
		return "tmux attach || exec tmux new"
	case fresh:
		return "exec screen -L"
	}
	return "exec screen -L -xRR"
}

// KillRandom ends the node of a worker chosen by chance: its processes, or
// with hard its machine.
func (c *Cluster) KillRandom(ctx context.Context, hard bool) error {
	_, workers, err := c.live(ctx)
	if err != nil {
		return err
	}
	if len(workers) == 0 {
		return fmt.Errorf("cluster %s has no workers", c.Config.Name)
	}
	w := workers[rand.IntN(len(workers))]
	if err := c.ask(fmt.Sprintf("Kill the node %s (%s) of %s?", c.ip(w), w.Type, c.Config.Name)); err != nil {
		return err
	}
	if hard {
		err = c.Provider.Terminate(ctx, []string{w.ID})
	} else {
		err = c.ExecOn(ctx, w.ID, "ray stop", Streams{})
	}
	if err != nil {
		return err
	}
	c.say("Killed %s (%s).", c.ip(w), w.Type)
	return nil
}

// ForwardDashboard makes the dashboard reachable at a port of this machine
// until the Closer is called. remote 0 is where the dashboard says it is.
func (c *Cluster) ForwardDashboard(ctx context.Context, port, remote int) (done func(), err error) {
	_, host, err := c.head(ctx)
	if err != nil {
		return nil, err
	}
	to := fmt.Sprintf("localhost:%d", remote)
	if remote == 0 {
		a, alive, err := announced(ctx, host)
		if err == nil && (!alive || a.Dashboard == "") {
			err = fmt.Errorf("no dashboard runs on the head of %s", c.Config.Name)
		}
		if err != nil {
			return nil, errors.Join(err, host.Close())
		}
		to = a.Dashboard
	}
	f, err := host.Forward(ctx, fmt.Sprintf("localhost:%d", port), to)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("port %d: %w; choose another one with --port", port, err), host.Close())
	}
	return func() { _ = f.Close(); _ = host.Close() }, nil
}

// SSHConfig gives entries for an OpenSSH configuration file, one for each node.
func (c *Cluster) SSHConfig(ctx context.Context) (string, error) {
	if c.Provider.Traits().Divided {
		return "", fmt.Errorf("the nodes of %s are on this machine: no SSH is needed", c.Config.Name)
	}
	head, workers, err := c.live(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if head != nil {
		c.entry(&b, c.Config.Name, *head)
	}
	for n, w := range workers {
		c.entry(&b, fmt.Sprintf("%s-worker%d", c.Config.Name, n+1), w)
	}
	return b.String(), nil
}

func (c *Cluster) entry(b *strings.Builder, name string, i providers.Instance) {
	auth := c.Config.Auth
	at := c.ip(i)
	if auth.ProxyByID {
		at = i.ID
	}
	fmt.Fprintf(b, "Host %s\n  HostName %s\n", name, at)
	if auth.User != "" {
		fmt.Fprintf(b, "  User %s\n", auth.User)
	}
	if auth.PrivateKey != "" {
		fmt.Fprintf(b, "  IdentityFile %q\n  IdentitiesOnly yes\n", cluster.ExpandHome(auth.PrivateKey))
	}
	if auth.ProxyCommand != "" {
		fmt.Fprintf(b, "  ProxyCommand %s\n", auth.ProxyCommand)
	}
}
