package pool

import (
	"strings"

	"ray/internal/spec"
)

// know counts with a class: from now on its needs have indexes in the ledger.
// Whoever has a class may come back with it after it was forgotten.
func (p *Pool) know(c *Class) {
	if p.known[c] {
		return
	}
	p.known[c] = true
	c.need = p.led.keep(p.led.amounts(c.Need))
	c.cpus, c.grouped = nil, false
	for _, a := range c.need {
		resource := p.led.names[a.index]
		c.devices = c.devices || p.led.kinds[a.index].family != ""
		c.grouped = c.grouped || strings.Contains(resource, "_group_")
		if resource == spec.CPU || strings.HasPrefix(resource, spec.CPU+"_group_") {
			c.cpus = append(c.cpus, a)
		}
	}
}

// ForgetClasses drops the classes of placement groups that are not here any
// more and of which nothing waits or runs: each group has its own, and they
// must not pile up. It returns them; they are known again when they are used.
func (p *Pool) ForgetClasses() (gone []*Class) {
	for c := range p.known {
		if !c.grouped || c.listed || c.Queued() > 0 || c.Running > 0 || len(c.leased) > 0 || p.led.feasible(c.need) {
			continue
		}
		delete(p.known, c)
		if p.classes[c.name] == c {
			delete(p.classes, c.name)
		}
		p.led.release(c.need)
		c.need, c.cpus = nil, nil
		gone = append(gone, c)
	}
	return gone
}
