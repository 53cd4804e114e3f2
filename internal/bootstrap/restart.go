package bootstrap

import (
	"context"
	"slices"

	"ray/providers"
)

// restart starts stopped machines of the type for as many of the names as
// there are machines that were launched as one would be now, and gives the
// names that are left. One that cannot be started leaves its name to a new
// machine.
func (f *Fleet) restart(ctx context.Context, nodeType, hash string, names []string) (made []providers.Instance, left []string, err error) {
	p, ok := f.Provider.(providers.Stopper)
	if !ok {
		return nil, names, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list, err := f.Provider.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		at := f.stopped(list, nodeType, hash, name)
		if at < 0 {
			left = append(left, name)
			continue
		}
		inst := list[at]
		list = slices.Delete(list, at, at+1)
		if f.renamed == nil {
			f.renamed = map[string]string{}
		}
		if inst.State.Up() { // an earlier call did it
			made = append(made, inst)
			continue
		}
		f.renamed[inst.ID] = name
		if err := p.Restart(ctx, inst.ID, map[string]string{providers.TagRequest: name}); err != nil {
			if ctx.Err() != nil {
				return made, nil, err
			}
			left = append(left, name)
			continue
		}
		inst.Tags = withTag(inst.Tags, providers.TagRequest, name)
		inst.State = providers.Running
		made = append(made, inst)
	}
	return made, left, nil
}

// stopped finds the machine for a name: its own, which may run, or one that is
// nobody's; -1 if there is none. Providers that make ids of names know a
// machine that has another name since by its tag alone.
func (f *Fleet) stopped(list []providers.Instance, nodeType, hash, name string) int {
	found := -1
	for n, i := range list {
		switch mine := i.Tags[providers.TagRequest] == name; {
		case mine && i.State.Up():
			return n
		case i.State != providers.Stopped || i.Kind != providers.Worker || i.Type != nodeType || i.Tags[providers.TagLaunchHash] != hash:
		case mine:
			found = n
		case found < 0 && f.renamed[i.ID] == "":
			found = n
		}
	}
	return found
}

func withTag(tags map[string]string, key, value string) map[string]string {
	out := map[string]string{key: value}
	for k, v := range tags {
		if k != key {
			out[k] = v
		}
	}
	return out
}
