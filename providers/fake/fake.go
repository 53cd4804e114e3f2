// Package fake is a provider in memory that can be told to be slow and to
// fail. Tests of the launcher, of the autoscaler and its simulation use it; no
// machine is ever made.
package fake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"ray/internal/sshx"
	"ray/providers"
)

// Provider is an in-memory provider. Set its exported fields before use, or
// through the methods.
type Provider struct {
	Cluster string
	// BootDelay is how long an instance stays pending.
	BootDelay time.Duration
	// Now is the clock; nil is time.Now. A simulation gives its own.
	Now func() time.Time
	// Limit bounds the live instances of a type; a type without one has none.
	Limit map[string]int
	// OnRun is what hosts do with commands; nil means success.
	OnRun func(ctx context.Context, id string, c sshx.Command) error

	mu        sync.Mutex
	instances []providers.Instance
	hosts     map[string]*sshx.Fake
	failures  map[string][]error // of an operation, next first
	calls     []string
}

var _ providers.Provider = (*Provider)(nil)

// New gives a fake provider of one cluster.
func New(cluster string) *Provider { return &Provider{Cluster: cluster} }

// Traits implements providers.Provider.
func (p *Provider) Traits() providers.Traits { return providers.Traits{} }

// FailNext makes the next calls of an operation (create, list, terminate,
// host) fail with these errors, one each.
func (p *Provider) FailNext(op string, errs ...error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures == nil {
		p.failures = map[string][]error{}
	}
	p.failures[op] = append(p.failures[op], errs...)
}

// Calls lists what was asked so far, as in "create cpu 2".
func (p *Provider) Calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// begin records a call and takes a failure that was ordered. p.mu is held.
func (p *Provider) begin(ctx context.Context, op, detail string) error {
	p.calls = append(p.calls, op+detail)
	if err := ctx.Err(); err != nil {
		return err
	}
	if queue := p.failures[op]; len(queue) > 0 {
		p.failures[op] = queue[1:]
		return queue[0]
	}
	return nil
}

func (p *Provider) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// Create implements providers.Provider.
func (p *Provider) Create(ctx context.Context, req providers.CreateRequest) ([]providers.Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(ctx, "create", fmt.Sprintf(" %s %d", req.Type, req.Count)); err != nil {
		return nil, err
	}
	var made []providers.Instance
	for n := range req.Count {
		id := providers.InstanceID(p.Cluster, req.Token, n)
		if i := p.find(id); i >= 0 {
			made = append(made, p.view(p.instances[i]))
			continue
		}
		if limit, ok := p.Limit[req.Type]; ok && p.live(req.Type) >= limit {
			return made, &providers.Error{Cause: providers.Capacity, Op: fmt.Sprintf("create %d of %s", req.Count, req.Type),
				Code: "InsufficientInstanceCapacity", Err: fmt.Errorf("only %d are there", limit)}
		}
		p.instances = append(p.instances, p.record(id, req))
		made = append(made, p.view(p.instances[len(p.instances)-1]))
	}
	return made, nil
}

func (p *Provider) record(id string, req providers.CreateRequest) providers.Instance {
	tags := maps.Clone(req.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, map[string]string{
		providers.TagCluster: p.Cluster, providers.TagKind: req.Kind, providers.TagType: req.Type, providers.TagRequest: req.Token,
	})
	ip := fmt.Sprintf("10.0.%d.%d", len(p.instances)/250, len(p.instances)%250+1)
	return providers.Instance{
		ID: id, Type: req.Type, Kind: req.Kind, State: providers.Pending, Tags: tags, IP: ip, ExternalIP: ip, Created: p.now(),
	}
}

func (p *Provider) find(id string) int {
	return slices.IndexFunc(p.instances, func(i providers.Instance) bool { return i.ID == id })
}

func (p *Provider) live(nodeType string) int {
	n := 0
	for _, i := range p.instances {
		if i.Type == nodeType && i.State.Live() {
			n++
		}
	}
	return n
}

// view is an instance as it is now.
func (p *Provider) view(i providers.Instance) providers.Instance {
	if i.State == providers.Pending && !p.now().Before(i.Created.Add(p.BootDelay)) {
		i.State = providers.Running
	}
	i.Tags = maps.Clone(i.Tags)
	return i
}

// List implements providers.Provider.
func (p *Provider) List(ctx context.Context) ([]providers.Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(ctx, "list", ""); err != nil {
		return nil, err
	}
	var out []providers.Instance
	for _, i := range p.instances {
		if i.State.Live() || p.now().Sub(i.Ended) < 10*time.Minute {
			out = append(out, p.view(i))
		}
	}
	return out, nil
}

// Tag implements providers.Tagger.
func (p *Provider) Tag(ctx context.Context, id string, tags map[string]string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.find(id)
	if i < 0 || ctx.Err() != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("%s: %w", id, providers.ErrNoInstance))
	}
	p.instances[i].Tags = maps.Clone(p.instances[i].Tags)
	maps.Copy(p.instances[i].Tags, tags)
	return nil
}

// Terminate implements providers.Provider.
func (p *Provider) Terminate(ctx context.Context, ids []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(ctx, "terminate", fmt.Sprintf(" %d", len(ids))); err != nil {
		return err
	}
	for _, id := range ids {
		p.end(id, "")
	}
	return nil
}

// Kill ends an instance from outside, as a spot interruption does.
func (p *Provider) Kill(id, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(id, reason)
}

func (p *Provider) end(id, reason string) {
	if i := p.find(id); i >= 0 && p.instances[i].State.Live() {
		p.instances[i].State, p.instances[i].Ended, p.instances[i].Reason = providers.Terminated, p.now(), reason
	}
}

// Host implements providers.Provider.
func (p *Provider) Host(ctx context.Context, id string) (sshx.Host, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(ctx, "host", ""); err != nil {
		return nil, err
	}
	i := p.find(id)
	if i < 0 || !p.instances[i].State.Live() {
		return nil, fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
	}
	if h, ok := p.hosts[id]; ok {
		return h, nil
	}
	h := &sshx.Fake{Name: id}
	if p.OnRun != nil {
		h.OnRun = func(ctx context.Context, c sshx.Command) error { return p.OnRun(ctx, id, c) }
	}
	if p.hosts == nil {
		p.hosts = map[string]*sshx.Fake{}
	}
	p.hosts[id] = h
	return h, nil
}
