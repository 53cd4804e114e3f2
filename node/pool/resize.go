package pool

import (
	"fmt"
	"strings"

	"ray/internal/spec"
)

// Resize sets how much the node has of the named resources, and leaves the
// others. What is in use stays in use: the total of a resource that is to
// shrink below that becomes what is in use. Nothing changes if one of the
// names cannot be resized: GPUs and the like are devices, the object store is a mapping of
// its size, and group resources belong to their bundles.
func (p *Pool) Resize(want spec.Resources, now int64) error {
	for _, name := range want.Names() {
		if kindOf(name).family != "" || name == spec.ObjectStoreMemory || strings.Contains(name, "_group_") || strings.HasPrefix(name, "node:") {
			return fmt.Errorf("%s cannot be resized while the node runs: start a node of the size that is wanted", name)
		}
		if want[name] < 0 {
			return fmt.Errorf("%s cannot become %s", name, want[name])
		}
	}
	for name, n := range want {
		i := p.led.intern(name)
		p.led.change(name, max(n-p.led.total[i], -max(0, p.led.avail[i])))
		p.led.forget(name)
	}
	p.Dispatch(now)
	return nil
}
