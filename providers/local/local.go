// Package local is the provider of machines that exist anyway and are reached
// by SSH: one head and a list of workers. Creating an instance is taking a
// host from the list; ending it stops the node there and gives the host back.
// Which hosts are taken is kept in a file beside the cluster's other state.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"ray/internal/cluster"
	"ray/internal/session"
	"ray/internal/sshx"
	"ray/providers"
)

// stopLimit bounds stopping a node on a host.
const stopLimit = 45 * time.Second

// Options describes the hosts.
type Options struct {
	Dir     string // keeps the state file and the pinned host keys
	Cluster string
	Head    string // host or host:port
	Workers []string
	Auth    cluster.Auth
}

// Provider implements providers.Provider.
type Provider struct{ o Options }

var _ providers.Provider = (*Provider)(nil)

// New gives the provider; no host is contacted yet.
func New(o Options) *Provider { return &Provider{o} }

// Traits implements providers.Provider.
func (p *Provider) Traits() providers.Traits { return providers.Traits{Manual: true} }

// change loads the table under the lock, lets f change it and stores it.
func (p *Provider) change(ctx context.Context, f func(taken map[string]providers.Instance) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.MkdirAll(p.o.Dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(p.o.Dir, "hosts.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	taken, err := p.load()
	if err != nil {
		return err
	}
	ferr := f(taken)
	data, err := json.MarshalIndent(taken, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(session.WriteFile(p.file(), append(data, '\n')), ferr)
}

func (p *Provider) file() string { return filepath.Join(p.o.Dir, "hosts.json") }

func (p *Provider) load() (map[string]providers.Instance, error) {
	taken := map[string]providers.Instance{}
	data, err := os.ReadFile(p.file())
	if errors.Is(err, fs.ErrNotExist) {
		return taken, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &taken); err != nil {
		return nil, &providers.Error{Cause: providers.BadConfig, Op: "read " + p.file(), Err: err, Hint: "remove the file if no node runs"}
	}
	return taken, nil
}

// Create implements providers.Provider: it takes free hosts.
func (p *Provider) Create(ctx context.Context, req providers.CreateRequest) ([]providers.Instance, error) {
	hosts := p.o.Workers
	if req.Kind == providers.Head {
		hosts = []string{p.o.Head}
	}
	var made []providers.Instance
	err := p.change(ctx, func(taken map[string]providers.Instance) error {
		for _, h := range slices.Concat(p.o.Workers, []string{p.o.Head}) {
			if i, ok := taken[h]; ok && i.State.Live() && i.Tags[providers.TagRequest] == req.Token {
				made = append(made, i)
			}
		}
		for _, h := range hosts {
			if i, ok := taken[h]; len(made) < req.Count && (!ok || !i.State.Live()) {
				taken[h] = p.instance(h, req)
				made = append(made, taken[h])
			}
		}
		if len(made) < req.Count {
			return &providers.Error{Cause: providers.Capacity, Op: fmt.Sprintf("take %d hosts as %s", req.Count, req.Kind),
				Err: fmt.Errorf("only %d of %d are free", len(made), len(hosts)), Hint: "add hosts to provider.worker_ips"}
		}
		return nil
	})
	return made, err
}

func (p *Provider) instance(host string, req providers.CreateRequest) providers.Instance {
	tags := maps.Clone(req.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, map[string]string{
		providers.TagCluster: p.o.Cluster, providers.TagKind: req.Kind, providers.TagType: req.Type, providers.TagRequest: req.Token,
	})
	ip := host
	if name, _, err := net.SplitHostPort(host); err == nil {
		ip = name
	}
	return providers.Instance{
		ID: host, Type: req.Type, Kind: req.Kind, State: providers.Running, Tags: tags, IP: ip, ExternalIP: ip, Created: time.Now(),
	}
}

// List implements providers.Provider.
func (p *Provider) List(ctx context.Context) ([]providers.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	taken, err := p.load()
	if err != nil {
		return nil, err
	}
	all := slices.Collect(maps.Values(taken))
	slices.SortFunc(all, func(a, b providers.Instance) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return slices.Compare([]string{a.ID}, []string{b.ID})
	})
	return all, nil
}

// Terminate implements providers.Provider: it stops the nodes on all the hosts
// at once. A host that cannot be asked stays taken, and the error names it.
func (p *Provider) Terminate(ctx context.Context, ids []string) error {
	taken, err := p.load()
	if err != nil {
		return err
	}
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	for n, id := range ids {
		if i, ok := taken[id]; ok && i.State.Live() {
			wg.Go(func() { errs[n] = p.stop(ctx, id) })
		}
	}
	wg.Wait()
	err = p.change(ctx, func(taken map[string]providers.Instance) error {
		for n, id := range ids {
			if i, ok := taken[id]; ok && i.State.Live() && errs[n] == nil {
				i.State, i.Ended = providers.Terminated, time.Now()
				taken[id] = i
			}
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// stop ends the node on one host and removes its session directory.
func (p *Provider) stop(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	h := p.connect(id)
	defer h.Close()
	_, err := sshx.Output(ctx, h, `if [ -x "$HOME/.ray/bin/ray" ] && [ -d "$RAY_TMPDIR" ]; then "$HOME/.ray/bin/ray" stop --force || exit 1; fi; rm -rf "$RAY_TMPDIR"`)
	if err != nil {
		return &providers.Error{Cause: providers.Transient, Op: "stop the node on " + id, Err: err,
			Hint: "once the host answers, run the command again"}
	}
	return nil
}

// Host implements providers.Provider.
func (p *Provider) Host(ctx context.Context, id string) (sshx.Host, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	taken, err := p.load()
	if err != nil {
		return nil, err
	}
	if i, ok := taken[id]; !ok || !i.State.Live() {
		return nil, fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
	}
	return p.connect(id), nil
}

func (p *Provider) connect(id string) *sshx.SSH {
	return sshx.NewSSH(sshx.Config{
		Address: id, User: p.o.Auth.User, KeyFile: cluster.ExpandHome(p.o.Auth.PrivateKey),
		ProxyCommand: p.o.Auth.ProxyCommand, KnownHosts: filepath.Join(p.o.Dir, "known_hosts"), Env: p.env(id),
	})
}

// env gives each node of a cluster its own session directory, so that stopping
// one never touches another that shares the host.
func (p *Provider) env(id string) map[string]string {
	return map[string]string{
		"RAY_TMPDIR": "~/.ray/" + p.o.Cluster + "-" + providers.InstanceID(p.o.Cluster, id, 0)[2:],
		"PATH":       "~/.ray/bin", "RAY_CLOUD_INSTANCE_ID": id,
	}
}
