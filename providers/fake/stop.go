package fake

import (
	"context"
	"fmt"
	"maps"

	"ray/providers"
)

var _ providers.Stopper = (*Provider)(nil)

// Stop implements providers.Stopper.
func (p *Provider) Stop(ctx context.Context, ids []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(ctx, "stop", fmt.Sprintf(" %d", len(ids))); err != nil {
		return err
	}
	for _, id := range ids {
		if i := p.find(id); i >= 0 && p.instances[i].State.Up() {
			p.instances[i].State = providers.Stopped
		}
	}
	return nil
}

// Restart implements providers.Stopper.
func (p *Provider) Restart(ctx context.Context, id string, tags map[string]string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(ctx, "restart", ""); err != nil {
		return err
	}
	i := p.find(id)
	if i < 0 || !p.instances[i].State.Live() {
		return fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
	}
	p.instances[i].Tags = maps.Clone(p.instances[i].Tags)
	maps.Copy(p.instances[i].Tags, tags)
	p.instances[i].State = providers.Running
	return nil
}
