package pool

import (
	"fmt"

	"ray/internal/spec"
)

// Held are resources that something besides tasks, actors and bundles uses:
// the driver of a submitted job. The zero Held is nothing.
type Held struct{ taken taken }

// GPUs are the ids of the devices that were chosen.
func (h Held) GPUs() []string { return gpuIDs(h.taken.gpus) }

// Hold takes resources until Release; an error says what is not free.
func (p *Pool) Hold(need spec.Resources) (Held, error) {
	amounts := p.led.amounts(need)
	if !p.led.fits(amounts) {
		return Held{}, fmt.Errorf("%s is needed, of which %v is not free here", need, p.Available().Lacks(need))
	}
	t, ok := p.led.take(amounts)
	if !ok {
		return Held{}, fmt.Errorf("%s is needed, and no GPU here has that much free", need)
	}
	return Held{t}, nil
}

// Release gives held resources back.
func (p *Pool) Release(h Held, now int64) {
	p.led.give(h.taken)
	p.Dispatch(now)
}
