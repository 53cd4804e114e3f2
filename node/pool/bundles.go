package pool

import (
	"fmt"

	"ray/internal/spec"
)

// Bundle is a reservation of a placement group on this node.
type Bundle struct {
	Group     spec.PlacementGroupID
	Index     int
	Resources spec.Resources
	Job       spec.JobID
	Of        int // bundles of the group in all; 0 if not known
}

type bundleKey struct {
	group spec.PlacementGroupID
	index int
}

type bundle struct {
	Bundle
	taken     taken
	committed bool
}

// PrepareBundle reserves a bundle's resources. Preparing what is prepared
// already is no error: the head asks again after a lost answer.
func (p *Pool) PrepareBundle(b Bundle) error {
	k := bundleKey{b.Group, b.Index}
	if p.bundles[k] != nil {
		return nil
	}
	need := p.led.amounts(b.Resources)
	if !p.led.fits(need) {
		return fmt.Errorf("bundle %d of placement group %s needs %s, of which %v is not free here", b.Index, b.Group, b.Resources, p.Available().Lacks(b.Resources))
	}
	t, ok := p.led.take(need)
	if !ok {
		return fmt.Errorf("bundle %d of placement group %s needs %s, and no device here has that much free", b.Index, b.Group, b.Resources)
	}
	p.bundles[k] = &bundle{Bundle: b, taken: t}
	return nil
}

// CommitBundle turns a reservation into the group's formatted resources.
func (p *Pool) CommitBundle(group spec.PlacementGroupID, index int, now int64) error {
	b := p.bundles[bundleKey{group, index}]
	if b == nil {
		return fmt.Errorf("bundle %d of placement group %s is not reserved here", index, group)
	}
	if b.committed {
		return nil
	}
	b.committed = true
	for name, n := range bundleOffer(b.Bundle) {
		p.led.change(name, n)
	}
	for _, s := range b.taken.devices {
		name := fmt.Sprintf("%s_group_%d_%s", s.family, index, group)
		p.led.devices[name] = append(p.led.devices[name], device{s.id, s.n})
	}
	p.Dispatch(now)
	return nil
}

// ReturnBundle gives a bundle back. Workers that hold its resources must have
// been killed by the caller: see GroupWorkers.
func (p *Pool) ReturnBundle(group spec.PlacementGroupID, index int, now int64) {
	k := bundleKey{group, index}
	b := p.bundles[k]
	if b == nil {
		return
	}
	delete(p.bundles, k)
	if b.committed {
		for name, n := range bundleOffer(b.Bundle) {
			p.led.change(name, -n)
			p.led.forget(name)
		}
		for _, s := range b.taken.devices {
			delete(p.led.devices, fmt.Sprintf("%s_group_%d_%s", s.family, index, group))
		}
	}
	p.led.give(b.taken)
	p.Dispatch(now)
}

// HasGroup tells whether every bundle of a group is committed here.
func (p *Pool) HasGroup(group spec.PlacementGroupID) bool {
	first := p.bundles[bundleKey{group, 0}]
	if first == nil || first.Of == 0 {
		return false
	}
	for i := range first.Of {
		if b := p.bundles[bundleKey{group, i}]; b == nil || !b.committed {
			return false
		}
	}
	return true
}

// DoubtGroup makes HasGroup false: the group is about to be removed.
func (p *Pool) DoubtGroup(group spec.PlacementGroupID) {
	if first := p.bundles[bundleKey{group, 0}]; first != nil {
		first.Of = 0
	}
}

// Bundles lists the committed bundles.
func (p *Pool) Bundles() (out []Bundle) {
	for _, b := range p.bundles {
		if b.committed {
			out = append(out, b.Bundle)
		}
	}
	return out
}

// GroupUse sums the committed bundles and what is in use of them.
func (p *Pool) GroupUse() (reserved, used spec.Resources) {
	reserved, used = spec.Resources{}, spec.Resources{}
	for _, b := range p.bundles {
		if !b.committed {
			continue
		}
		reserved.Add(b.Resources)
		for name := range b.Resources {
			i := p.led.intern(fmt.Sprintf("%s_group_%d_%s", name, b.Index, b.Group))
			used[name] += p.led.total[i] - p.led.avail[i]
		}
	}
	return reserved, used
}
