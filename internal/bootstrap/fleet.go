package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ray/internal/cluster"
	"ray/providers"
	"ray/providers/all"
)

// Fleet is a head's hold on its workers' machines: it launches them, sets them
// up and ends them, for the autoscaler.
type Fleet struct {
	Config      *cluster.Config
	Provider    providers.Provider
	HeadAddress string // host:port that workers join
	TokenFile   string
	Ray         string // this program
	// Progress is told the steps of every set-up; nil is nobody.
	Progress func(Event)
	// Joined tells whether a node of the cluster runs on the machine; nil is
	// no. A set-up leaves such a machine alone.
	Joined func(ctx context.Context, id string) (bool, error)
	turn   atomic.Int64 // counts requests, so that places take turns

	mu      sync.Mutex        // held while stopped machines are given out
	renamed map[string]string // who got a stopped machine; lists may lag
}

// workerWait is how long a worker's machine may take to be reachable.
const workerWait = 10 * time.Minute

// OpenFleet reads the head's copy of the cluster file. ray is the program that
// workers run; "" is this one.
func OpenFleet(configPath, headAddress, tokenFile, ray string) (*Fleet, error) {
	cfg, err := cluster.Load(configPath)
	if err != nil {
		return nil, err
	}
	if ray == "" {
		ray = all.RayPath()
	}
	path, err := filepath.Abs(configPath)
	if err != nil {
		return nil, err
	}
	// What the file says nothing else of is beside it, wherever this runs.
	p, err := all.New(cfg, all.Options{StateDir: filepath.Dir(path), Ray: ray})
	if err != nil {
		return nil, err
	}
	return &Fleet{Config: cfg, Provider: p, HeadAddress: headAddress, TokenFile: tokenFile, Ray: ray}, nil
}

// Manual tells whether the launcher started the listed workers itself, so that
// nobody must launch any here.
func (f *Fleet) Manual() bool { return f.Provider.Traits().Manual }

// Launch makes one machine for each name, which is its request's token: asking
// again for a name gives the same machine. It may give some machines together
// with an error. ways are the offerings to try, nil for the provider's own
// choice; one that had nothing is not tried for the next name.
func (f *Fleet) Launch(ctx context.Context, nodeType string, names []string, ways []providers.Offering, tried func(providers.Offering, error)) ([]providers.Instance, error) {
	if _, ok := f.Config.NodeTypes[nodeType]; !ok {
		return nil, &providers.Error{Cause: providers.BadConfig, Op: "launch " + nodeType,
			Err: fmt.Errorf("no such node type in %s", f.Config.Source)}
	}
	hash, err := f.Config.LaunchHash(nodeType)
	if err != nil {
		return nil, &providers.Error{Cause: providers.BadConfig, Op: "launch " + nodeType, Err: err}
	}
	made, names, err := f.restart(ctx, nodeType, hash, names)
	if err != nil {
		return made, err
	}
	for _, name := range names {
		list, err := f.Provider.Create(ctx, providers.CreateRequest{
			Token: name, Type: nodeType, Kind: providers.Worker, Count: 1, Ways: providers.Rotate(ways, int(f.turn.Add(1)-1)),
			Tried: func(o providers.Offering, err error) {
				tried(o, err)
				if left := slices.DeleteFunc(slices.Clone(ways), func(w providers.Offering) bool { return w == o }); err != nil && len(left) > 0 {
					ways = left
				}
			},
			Tags: map[string]string{providers.TagName: "ray-" + f.Config.Name + "-worker", providers.TagLaunchHash: hash},
		})
		made = append(made, list...)
		if err != nil {
			return made, err
		}
	}
	return made, nil
}

// Offerings lists the ways to get a machine of the type, the preferred one
// first; none if the provider has but one.
func (f *Fleet) Offerings(nodeType string) []providers.Offering {
	if o, ok := f.Provider.(providers.Offerer); ok {
		return o.Offerings(nodeType)
	}
	return nil
}

// Workers lists the workers' machines that are not terminated.
func (f *Fleet) Workers(ctx context.Context) ([]providers.Instance, error) {
	list, err := f.Provider.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []providers.Instance
	for _, i := range list {
		if i.Kind == providers.Worker && i.State.Live() {
			out = append(out, i)
		}
	}
	return out, nil
}

// Stop keeps machines without running them, where the provider can; else it
// ends them.
func (f *Fleet) Stop(ctx context.Context, ids []string) error {
	p, ok := f.Provider.(providers.Stopper)
	if !ok {
		return f.Provider.Terminate(ctx, ids)
	}
	f.mu.Lock()
	for _, id := range ids {
		delete(f.renamed, id)
	}
	f.mu.Unlock()
	return p.Stop(ctx, ids)
}

// Terminate ends machines.
func (f *Fleet) Terminate(ctx context.Context, ids []string) error {
	return f.Provider.Terminate(ctx, ids)
}

// EndHead ends the machine of the head, or stops it if that is what auto_stop
// says. On a cloud the machine goes on for a moment after that.
func (f *Fleet) EndHead(ctx context.Context) error {
	list, err := f.Provider.List(ctx)
	if err != nil {
		return err
	}
	keep := f.Config.AutoStop.Keeps()
	for _, i := range list {
		if i.Kind != providers.Head || !i.State.Up() {
			continue
		}
		if p, ok := f.Provider.(providers.SelfEnder); ok {
			return p.EndSelf(ctx, i.ID, keep)
		}
		if keep {
			return f.Stop(ctx, []string{i.ID})
		}
		return f.Provider.Terminate(ctx, []string{i.ID})
	}
	return fmt.Errorf("the provider does not list the head: %w", providers.ErrNoInstance)
}

// Install makes a node of a machine; it may be called again for one that is
// set up half or whole. One that has joined meanwhile, by the commands of an
// autoscaler that was killed, is left as it is: the start commands would stop it.
func (f *Fleet) Install(ctx context.Context, id string) error {
	list, err := f.Provider.List(ctx)
	if err != nil {
		return err
	}
	for _, inst := range list {
		if inst.ID != id || !inst.State.Live() {
			continue
		}
		host, err := f.Provider.Host(ctx, id)
		if err != nil {
			return err
		}
		n := Node{
			Config: f.Config, Instance: inst, Host: host, Traits: f.Provider.Traits(), HeadAddress: f.HeadAddress,
			TokenFile: f.TokenFile, Ray: f.Ray, Wait: workerWait, Tags: f.Provider,
		}
		if f.Joined != nil {
			n.Settled = func(ctx context.Context) (bool, error) { return f.Joined(ctx, id) }
			n.BeforeStart = func(ctx context.Context) error {
				joined, err := f.Joined(ctx, id)
				if joined && err == nil {
					err = ErrSettled
				}
				return err
			}
		}
		return errors.Join(Start(ctx, n, f.Progress), host.Close())
	}
	return fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
}
