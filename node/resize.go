package node

import (
	"context"

	"ray/internal/spec"
	"ray/internal/wire"
)

// onResize changes how much the node has of some resources, as its machine or
// container was resized, and answers with all that it has then.
func (d *daemon) onResize(_ context.Context, r *wire.Request) (any, []byte, error) {
	var want spec.Resources
	if err := r.Decode(&want); err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.pool.Resize(want, d.now()); err != nil {
		return nil, nil, &spec.ErrorInfo{Type: "ValueError", Message: err.Error()}
	}
	d.reschedule()
	d.beat() // before the answer: who asks the head then finds it
	d.wakeTicker()
	return d.pool.Total(), nil, nil
}
