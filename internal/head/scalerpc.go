package head

import (
	"context"
	"time"

	"ray/internal/autoscalerpb"
	"ray/internal/gcs"
	"ray/internal/head/scalerpc"
	"ray/internal/spec"
	"ray/internal/wire"
)

// Where upstream's clients look for the limits of the cluster's size.
const (
	limitsNamespace = "__autoscaler"
	limitsKey       = "__autoscaler_cluster_config"
)

// resizeLimit is how long a node may take to be resized.
const resizeLimit = 10 * time.Second

// scalable is the head as scalerpc sees it.
type scalable struct{ h *Head }

// State implements scalerpc.Cluster.
func (s scalable) State() (spec.Status, string) { return s.h.coreStatus(), s.h.cfg.SessionName }

// ScalesItself implements scalerpc.Cluster.
func (s scalable) ScalesItself() bool {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	_, isOutside := s.h.scaler.(*outside)
	return s.h.scaler != nil && !isOutside
}

// Work implements scalerpc.Cluster.
func (s scalable) Work() scalerpc.Work {
	t := s.h.tables
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	jobs := t.Jobs()
	w := scalerpc.Work{Drivers: drivers(jobs), Passing: []spec.NodeID{}}
	for id := range passing(t.Nodes(), t.Actors(), t.Groups(), jobs) {
		w.Passing = append(w.Passing, id)
	}
	return w
}

// Report implements scalerpc.Cluster.
func (s scalable) Report(r *autoscalerpb.AutoscalingState) { s.h.hearOutside(r) }

// Reported implements scalerpc.Cluster.
func (s scalable) Reported() *autoscalerpb.AutoscalingState {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	return s.h.outsideReport()
}

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

// Resize implements scalerpc.Cluster.
func (s scalable) Resize(ctx context.Context, id spec.NodeID, r spec.Resources) (total spec.Resources, err error) {
	p := s.h.peerOf(id)
	if p == nil {
		return nil, &spec.ErrorInfo{Type: "ValueError", Message: "the node is not there"}
	}
	ctx, cancel := context.WithTimeout(ctx, resizeLimit)
	defer cancel()
	_, err = p.Call(ctx, wire.MethodResize, r, &total, nil)
	return total, err
}

// KVGet implements scalerpc.KV. What it gives is durable.
func (s scalable) KVGet(namespace, key string) (value []byte, found bool, err error) {
	err = s.h.change(func(t *gcs.Tables) (gcs.Change, error) {
		value, found = t.KVGet(namespace, key)
		return gcs.Change{}, nil
	})
	return value, found, err
}

// KVKeys implements scalerpc.KV.
func (s scalable) KVKeys(namespace, prefix string) (keys []string, err error) {
	err = s.h.change(func(t *gcs.Tables) (gcs.Change, error) {
		keys = t.KVList(namespace, prefix)
		return gcs.Change{}, nil
	})
	return keys, err
}

// KVPut implements scalerpc.KV.
func (s scalable) KVPut(namespace, key string, value []byte, overwrite bool) (added bool, err error) {
	err = s.h.change(func(t *gcs.Tables) (c gcs.Change, _ error) {
		added, c = t.KVPut(namespace, key, value, overwrite)
		return c, nil
	})
	return added, err
}

// KVDelete implements scalerpc.KV.
func (s scalable) KVDelete(namespace, key string, prefix bool) (count int, err error) {
	err = s.h.change(func(t *gcs.Tables) (c gcs.Change, _ error) {
		count, c = t.KVDelete(namespace, key, prefix)
		return c, nil
	})
	return count, err
}
