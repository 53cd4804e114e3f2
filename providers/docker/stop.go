package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"ray/internal/session"
	"ray/providers"
)

var (
	_ providers.Stopper = (*Provider)(nil)
	_ providers.Stopper = (*remote)(nil)
)

// kept is what the engine does not know of a container: whether it was stopped
// to be started again, and tags that it was given since, as labels are for ever.
type kept struct {
	Stopped bool              `json:"stopped"`
	Tags    map[string]string `json:"tags,omitempty"`
}

func (p *Provider) keptFile(id string) string {
	return filepath.Join(p.o.Dir, "kept", filepath.Base(id)+".json")
}

func (p *Provider) kept(id string) (k kept, err error) {
	data, err := os.ReadFile(p.keptFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	return k, err
}

func (p *Provider) keep(id string, k kept) error {
	data, err := json.Marshal(k)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(p.keptFile(id)), 0o700)
	}
	if err != nil {
		return err
	}
	return session.WriteFile(p.keptFile(id), append(data, '\n'))
}

func (p *Provider) unkeep(id string) error {
	if err := os.Remove(p.keptFile(id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// there gives the cluster's containers with what is kept of them.
func (p *Provider) there(ctx context.Context) ([]providers.Instance, error) {
	all, err := p.engine.list(ctx, p.o.Config.Name)
	if err != nil {
		return nil, err
	}
	for n := range all {
		i := &all[n]
		k, err := p.kept(i.ID)
		if err != nil {
			return nil, err
		}
		i.Tags = maps.Clone(i.Tags)
		maps.Copy(i.Tags, k.Tags)
		if k.Stopped && i.State == providers.Terminated {
			i.State, i.Reason = providers.Stopped, ""
		}
	}
	return all, nil
}

// Stop implements providers.Stopper. The head goes last: the agent that
// carries this out for it ends with it.
func (p *Provider) Stop(ctx context.Context, ids []string) error {
	all, err := p.there(ctx)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b providers.Instance) int { return headLast(a) - headLast(b) })
	var errs []error
	for _, i := range all {
		if !slices.Contains(ids, i.ID) || !i.State.Up() {
			continue
		}
		k, err := p.kept(i.ID)
		if err == nil {
			k.Stopped = true
			err = p.keep(i.ID, k)
		}
		if err == nil {
			_, err = p.engine.output(ctx, "stop "+i.ID, "stop", p.name(i.ID))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func headLast(i providers.Instance) int {
	if i.Kind == providers.Head {
		return 1
	}
	return 0
}

// Restart implements providers.Stopper.
func (p *Provider) Restart(ctx context.Context, id string, tags map[string]string) error {
	all, err := p.there(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(i providers.Instance) bool { return i.ID == id && i.State.Live() })
	if at < 0 {
		return fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
	}
	k, err := p.kept(id)
	if err != nil {
		return err
	}
	if k.Tags == nil {
		k.Tags = map[string]string{}
	}
	maps.Copy(k.Tags, tags)
	if err := p.keep(id, k); err != nil {
		return err
	}
	if _, err := p.engine.output(ctx, "start "+id, "start", p.name(id)); err != nil {
		return err
	}
	k.Stopped = false // it runs: from now on its end is the instance's
	return p.keep(id, k)
}

// Stop implements providers.Stopper.
func (r *remote) Stop(ctx context.Context, ids []string) error {
	_, err := r.simple(ctx, request{Op: "stop", IDs: ids})
	return err
}

// Restart implements providers.Stopper.
func (r *remote) Restart(ctx context.Context, id string, tags map[string]string) error {
	_, err := r.simple(ctx, request{Op: "restart", ID: id, Tags: tags})
	return err
}
