package aws

import (
	"slices"
	"time"

	"ray/providers"
)

// youngFor is how long EC2's lists and calls may not know a new instance: they
// are answered by copies that agree in the end. Seconds are usual.
const youngFor = 2 * time.Minute

// newborn is an instance and when it was made, by this machine's clock.
type newborn struct {
	providers.Instance
	at time.Time
}

// remember notes what was just made.
func (p *Provider) remember(made []providers.Instance, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.young == nil {
		p.young = map[string]newborn{}
	}
	for _, i := range made {
		p.young[i.ID] = newborn{i, now}
	}
}

// withYoung adds to a list what was made and does not show yet.
func (p *Provider) withYoung(list []providers.Instance, now time.Time) []providers.Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, i := range p.young {
		listed := slices.ContainsFunc(list, func(o providers.Instance) bool { return o.ID == id })
		if listed || now.Sub(i.at) > youngFor {
			delete(p.young, id)
			continue
		}
		list = append(list, i.Instance)
	}
	return list
}

func (p *Provider) isYoung(id string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.young[id]
	return ok && now.Sub(i.at) <= youngFor
}

// forget drops what was ended: a list that lags must not bring it back.
func (p *Provider) forget(ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		delete(p.young, id)
	}
}
