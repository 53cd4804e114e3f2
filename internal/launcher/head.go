package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ray/internal/bootstrap"
	"ray/internal/cluster"
	"ray/internal/session"
	"ray/internal/sshx"
	"ray/providers"
	"ray/providers/prices"
)

// addressWait is how long a head that was started may take to say where it is.
const addressWait = 30 * time.Second

// machines gives the instances that exist, stopped ones too, the head first if
// there is one.
func (c *Cluster) machines(ctx context.Context) (head *providers.Instance, workers []providers.Instance, err error) {
	all, err := c.Provider.List(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("listing the machines of %s: %w", c.Config.Name, err)
	}
	for _, i := range all {
		switch {
		case !i.State.Live():
		case i.Kind == providers.Head:
			head = &i
		default:
			workers = append(workers, i)
		}
	}
	return head, workers, nil
}

// live is machines without those that are stopped.
func (c *Cluster) live(ctx context.Context) (head *providers.Instance, workers []providers.Instance, err error) {
	head, workers, err = c.machines(ctx)
	if head != nil && head.State == providers.Stopped {
		head = nil
	}
	return head, running(workers), err
}

// running leaves out what is stopped.
func running(all []providers.Instance) []providers.Instance {
	return slices.DeleteFunc(slices.Clone(all), func(i providers.Instance) bool { return i.State == providers.Stopped })
}

// ErrNoHead is the answer of verbs that need a running head.
var ErrNoHead = errors.New("has no head; start it with `ray up`")

// errStopped is ErrNoHead for a cluster that auto_stop has stopped.
type errStopped struct{}

func (errStopped) Error() string { return "is stopped, only its disks cost; start it with `ray up`" }
func (errStopped) Unwrap() error { return ErrNoHead }

// theHead gives the running head.
func (c *Cluster) theHead(ctx context.Context) (providers.Instance, error) {
	head, _, err := c.machines(ctx)
	switch {
	case err != nil:
		return providers.Instance{}, err
	case head == nil:
		return providers.Instance{}, fmt.Errorf("cluster %s %w", c.Config.Name, ErrNoHead)
	case head.State == providers.Stopped:
		return providers.Instance{}, fmt.Errorf("cluster %s %w", c.Config.Name, errStopped{})
	}
	return *head, nil
}

// head gives the running head and the connection to it, which the caller closes.
func (c *Cluster) head(ctx context.Context) (providers.Instance, sshx.Host, error) {
	head, err := c.theHead(ctx)
	if err != nil {
		return head, nil, err
	}
	host, err := c.connect(ctx, head)
	return head, host, err
}

// connect gives the connection to where an instance's node runs: its machine,
// or the container there.
func (c *Cluster) connect(ctx context.Context, inst providers.Instance) (sshx.Host, error) {
	host, err := c.Provider.Host(ctx, inst.ID)
	if err != nil || c.OnMachine {
		return host, err
	}
	return bootstrap.Inside(&bootstrap.Node{Config: c.Config, Instance: inst, Host: host}), nil
}

// plain is the provider without its journal: tags are no machines.
func (c *Cluster) plain() providers.Provider {
	if j, ok := c.Provider.(journaled); ok {
		return j.Provider
	}
	return c.Provider
}

// node describes an instance to bootstrap.
func (c *Cluster) node(inst providers.Instance, host sshx.Host) bootstrap.Node {
	n := bootstrap.Node{
		Config: c.Config, Instance: inst, Host: host, Traits: c.Provider.Traits(), TokenFile: c.TokenPath(), Ray: c.l.Ray,
		Tags: c.plain(),
	}
	if inst.Kind == providers.Head {
		n.Files = map[string][]byte{cluster.BootstrapPath: c.bootstrapConfig().Marshal()}
		if asked, err := os.ReadFile(c.l.PricesPath()); err == nil {
			n.Files["~/"+prices.FileName] = asked
		}
		if key, err := c.keyFile(); err == nil && key != nil {
			n.Files[bootstrapKey] = key
		}
	} else {
		n.HeadAddress = c.Record.Address
	}
	return n
}

// bootstrapConfig is the head's copy of the cluster file: where things are on
// the head rather than here.
func (c *Cluster) bootstrapConfig() *cluster.Config {
	if c.Provider.Traits().SharedMachine {
		return c.Config.With(map[string]any{"state_dir": string(c.dir)})
	}
	mounts := map[string]string{}
	for remote := range c.Config.FileMounts {
		mounts[remote] = remote
	}
	copied := c.Config.With(map[string]any{"state_dir": "~/.ray/" + c.Config.Name + "-state"}).WithFileMounts(mounts)
	if c.Provider.Traits().Manual {
		return copied
	}
	return copied.Edit(func(doc map[string]any) {
		if auth, ok := doc["auth"].(map[string]any); ok {
			if auth["ssh_private_key"] != nil {
				auth["ssh_private_key"] = bootstrapKey
			}
			// The head is inside already.
			delete(auth, "ssh_public_key")
			delete(auth, "ssh_proxy_command")
			delete(auth, "ssh_proxy_use_node_id")
		}
		if p, ok := doc["provider"].(map[string]any); ok {
			p["use_internal_ips"] = true
		}
	})
}

// announced reads what the node daemon on the host says about itself; false if
// there is none that runs.
func announced(ctx context.Context, host sshx.Host) (session.Announcement, bool, error) {
	var a session.Announcement
	out, err := sshx.Output(ctx, host, `cat "${RAY_TMPDIR:-/tmp/ray-$(id -u)}/session.json" 2>/dev/null || true`)
	if err != nil || out == "" {
		return a, false, err
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		return a, false, fmt.Errorf("%s: session.json: %w", host, err)
	}
	// The pid alone may have been given to another process since. Nothing but
	// cat: an image may have little else.
	out, err = sshx.Output(ctx, host, "cat /proc/sys/kernel/random/boot_id /proc/"+strconv.Itoa(a.PID)+"/stat 2>/dev/null")
	if err != nil {
		return a, false, nil
	}
	boot, stat, _ := strings.Cut(out, "\n")
	state, ticks, ok := lifeOf(stat)
	if !ok || state == "Z" {
		return a, false, nil
	}
	alive := (a.BootID == "" || a.BootID == boot) && (a.StartTicks == 0 || a.StartTicks == ticks)
	return a, alive, nil
}

// lifeOf reads a process's state and start from its /proc/PID/stat, whose
// second field, the name, may hold anything.
func lifeOf(stat string) (state string, ticks uint64, ok bool) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return "", 0, false
	}
	ticks, err := strconv.ParseUint(fields[19], 10, 64)
	return fields[0], ticks, err == nil
}

// findAddress waits until the head says where it listens.
func findAddress(ctx context.Context, host sshx.Host) (session.Announcement, error) {
	for deadline := time.Now().Add(addressWait); ; {
		a, alive, err := announced(ctx, host)
		if err != nil {
			return a, err
		}
		if alive && a.Address != "" {
			return a, nil
		}
		if time.Now().After(deadline) {
			return a, fmt.Errorf("%s: the start commands ended well, but no head runs there; does head_start_ray_commands contain `ray start --head`?", host)
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// publicAddress is an address of the head as seen from here.
func (c *Cluster) publicAddress(inst providers.Instance, announced string) string {
	ip := inst.ExternalIP
	if p := c.Config.Provider; ip == "" || p.Bool("use_internal_ips", false) && !p.Bool("use_external_head_ip", false) {
		ip = inst.IP
	}
	_, port, err := net.SplitHostPort(announced)
	if err != nil || ip == "" {
		return announced
	}
	return net.JoinHostPort(ip, port)
}

// environment of a command on the head: the node's own, and the address by
// which ray.init() finds the cluster.
func (c *Cluster) environment(ctx context.Context, inst providers.Instance, host sshx.Host) map[string]string {
	n := c.node(inst, host)
	env := bootstrap.Env(&n)
	// These describe a node that starts; a program that runs there is none.
	for _, k := range []string{"RAY_OVERRIDE_RESOURCES", "RAY_OVERRIDE_LABELS"} {
		delete(env, k)
	}
	if a, alive, err := announced(ctx, host); err == nil && alive {
		env["RAY_ADDRESS"] = a.Address
	} else if c.Record.Address != "" {
		env["RAY_ADDRESS"] = c.Record.Address
	}
	return env
}
