package head

import (
	"context"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// Where upstream's clients look for the limits of the cluster's size.
const (
	limitsNamespace = "__autoscaler"
	limitsKey       = "__autoscaler_cluster_config"
)

// scalable is the head as scalerpc sees it.
type scalable struct{ h *Head }

// State implements scalerpc.Cluster.
func (s scalable) State() (spec.Status, string) { return s.h.coreStatus(), s.h.cfg.SessionName }

// SetConstraints implements scalerpc.Cluster.
func (s scalable) SetConstraints(d []spec.Demand) error {
	return s.h.change(func(t *gcs.Tables) (gcs.Change, error) {
		s.h.kick()
		return t.SetConstraints(d), nil
	})
}

// SetLimits implements scalerpc.Cluster.
func (s scalable) SetLimits(text []byte) error {
	return s.h.change(func(t *gcs.Tables) (gcs.Change, error) {
		_, c := t.KVPut(limitsNamespace, limitsKey, text, true)
		return c, nil
	})
}

// Drain implements scalerpc.Cluster.
func (s scalable) Drain(ctx context.Context, id spec.NodeID, d spec.Drain) (wire.DrainReply, error) {
	return s.h.drain(ctx, id, d)
}
