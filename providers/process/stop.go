package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"ray/providers"
)

var _ providers.Stopper = (*Provider)(nil)

// Stop implements providers.Stopper: the processes end, the files stay.
func (p *Provider) Stop(ctx context.Context, ids []string) error {
	return together(ids, func(id string) error { return p.stop(ctx, id) })
}

func (p *Provider) stop(ctx context.Context, id string) error {
	inst, err := p.read(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		// First: what fails below is done again when it is started.
		inst.State = providers.Stopped
		err = p.write(p.record(id), inst)
	}
	if err == nil {
		err = p.endProcesses(ctx, id)
	}
	if err != nil {
		return p.wrap("stop "+id, err)
	}
	return nil
}

// Restart implements providers.Stopper. It ends what is left of the instance's
// earlier life first.
func (p *Provider) Restart(ctx context.Context, id string, tags map[string]string) error {
	unlock, err := p.lock(ctx)
	if err != nil {
		return p.wrap("start "+id, err)
	}
	defer unlock()
	inst, err := p.read(id)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
	}
	if err == nil && !inst.State.Up() {
		err = p.endProcesses(ctx, id)
	}
	if err == nil {
		maps.Copy(inst.Tags, tags)
		inst.State = providers.Running
		err = p.write(p.record(id), inst)
	}
	if err != nil {
		return p.wrap("start "+id, err)
	}
	return nil
}
