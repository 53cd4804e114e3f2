package pool

import (
	"fmt"

	"ray/internal/spec"
)

// Held are resources that something besides tasks, actors and bundles uses:
// the driver of a submitted job. The zero Held is nothing.
type Held struct{ taken taken }

// Devices are the numbers of those that were chosen, by family.
func (h Held) Devices() map[string][]string { return deviceIDs(h.taken.devices) }

// Hold takes resources until Release; an error says what is not free.
func (p *Pool) Hold(need spec.Resources) (Held, error) {
	amounts := p.led.amounts(need)
	if !p.led.fits(amounts) {
		return Held{}, fmt.Errorf("%s is needed, of which %v is not free here", need, p.Available().Lacks(need))
	}
	t, ok := p.led.take(amounts)
	if !ok {
		return Held{}, fmt.Errorf("%s is needed, and no device here has that much free", need)
	}
	return Held{t}, nil
}

// Release gives held resources back.
func (p *Pool) Release(h Held, now int64) {
	p.led.give(h.taken)
	p.Dispatch(now)
}
