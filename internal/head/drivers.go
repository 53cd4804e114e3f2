package head

import (
	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// driverExited passes the end of an entrypoint on to the job service.
func (h *Head) driverExited(r *request) (any, gcs.Change, error) {
	var e wire.DriverExited
	if err := r.decode(&e); err != nil {
		return nil, gcs.Change{}, err
	}
	if h.onExit != nil {
		h.work.Go(func() { h.onExit(e) })
	}
	return nil, gcs.Change{}, nil
}

// drivers takes up the entrypoints that a node runs when it registers.
// Needs h.mu.
func (h *Head) drivers(from spec.NodeID, running []wire.DriverStarted) {
	_ = from
	_ = running
}
