package scalerpc

import (
	"context"
	"encoding/json"

	"ray/internal/autoscalerpb"
	"ray/internal/spec"
)

// Codes of upstream's GcsStatus.
const codeNotFound = 17

// What upstream's clients read before they do anything: which of its two
// autoscalers they have to do with (only the newer has this service), and which
// versions the cluster runs.
const (
	scalerSpace  = "__autoscaler"
	newScalerKey = "__autoscaler_v2_enabled"
	clusterSpace = "cluster"
	metadataKey  = "CLUSTER_METADATA"
)

// Where an autoscaler of ours that runs outside keeps its table, and finds out
// whether the head scales by itself: the value of InHeadKey is then "1".
const (
	AloneSpace = "__ray_autoscaler_outside"
	InHeadKey  = "in_head"
	// WorkKey has a Work as JSON: what such an autoscaler needs to know beside the
	// state that upstream's service has.
	WorkKey = "work"
)

// Work is what lives in a cluster and shows in no node's resources.
type Work struct {
	Drivers int `json:"drivers"` // jobs that have not ended
	// Passing are the nodes on which nothing lives that does not end by itself.
	Passing []spec.NodeID `json:"passing"`
}

// KV is the head's key-value store.
type KV interface {
	KVGet(namespace, key string) (value []byte, found bool, err error)
	KVKeys(namespace, prefix string) ([]string, error)
	// KVPut returns once the value is durable; added tells that the key was
	// not there. Without overwrite one that is there stays.
	KVPut(namespace, key string, value []byte, overwrite bool) (added bool, err error)
	// KVDelete removes a key, or all that begin with it.
	KVDelete(namespace, key string, prefix bool) (count int, err error)
}

// kvService implements upstream's InternalKVGcsService.
type kvService struct {
	autoscalerpb.UnimplementedInternalKVGcsServiceServer
	kv      Cluster
	version string // of upstream, as its clients compare it with theirs
}

func (s *kvService) get(namespace, key string) ([]byte, bool, error) {
	switch {
	case namespace == scalerSpace && key == newScalerKey:
		return []byte("1"), true, nil
	case namespace == AloneSpace && key == InHeadKey:
		if !s.kv.ScalesItself() {
			return nil, false, nil
		}
		return []byte("1"), true, nil
	case namespace == AloneSpace && key == WorkKey:
		text, err := json.Marshal(s.kv.Work())
		return text, true, failure(err)
	case namespace == clusterSpace && key == metadataKey:
		text, err := s.metadata()
		return text, true, failure(err)
	}
	value, found, err := s.kv.KVGet(namespace, key)
	return value, found, failure(err)
}

// metadata names the versions; the Python is the first of the head's node.
func (s *kvService) metadata() ([]byte, error) {
	now, _ := s.kv.State()
	python := ""
	for _, n := range now.Nodes {
		if n.Head && len(n.Pythons) > 0 {
			python = n.Pythons[0]
		}
	}
	return json.Marshal(map[string]any{"ray_version": s.version, "python_version": python, "ray_init_cluster": false})
}

func succeeded() *autoscalerpb.GcsStatus { return &autoscalerpb.GcsStatus{} }

// InternalKVGet implements the service.
func (s *kvService) InternalKVGet(_ context.Context, r *autoscalerpb.InternalKVGetRequest) (*autoscalerpb.InternalKVGetReply, error) {
	value, found, err := s.get(string(r.Namespace), string(r.Key))
	out := &autoscalerpb.InternalKVGetReply{Status: succeeded(), Value: value}
	if !found {
		out.Status = &autoscalerpb.GcsStatus{Code: codeNotFound, Message: "Failed to find the key."}
	}
	return out, err
}

// InternalKVMultiGet implements the service.
func (s *kvService) InternalKVMultiGet(_ context.Context, r *autoscalerpb.InternalKVMultiGetRequest) (*autoscalerpb.InternalKVMultiGetReply, error) {
	out := &autoscalerpb.InternalKVMultiGetReply{Status: succeeded()}
	for _, key := range r.Keys {
		value, found, err := s.get(string(r.Namespace), string(key))
		if err != nil {
			return nil, err
		}
		if found {
			out.Results = append(out.Results, &autoscalerpb.MapFieldEntry{Key: key, Value: value})
		}
	}
	return out, nil
}

// InternalKVPut implements the service.
func (s *kvService) InternalKVPut(_ context.Context, r *autoscalerpb.InternalKVPutRequest) (*autoscalerpb.InternalKVPutReply, error) {
	added, err := s.kv.KVPut(string(r.Namespace), string(r.Key), r.Value, r.Overwrite)
	return &autoscalerpb.InternalKVPutReply{Status: succeeded(), Added: added}, failure(err)
}

// InternalKVDel implements the service.
func (s *kvService) InternalKVDel(_ context.Context, r *autoscalerpb.InternalKVDelRequest) (*autoscalerpb.InternalKVDelReply, error) {
	count, err := s.kv.KVDelete(string(r.Namespace), string(r.Key), r.DelByPrefix)
	return &autoscalerpb.InternalKVDelReply{Status: succeeded(), DeletedNum: int32(count)}, failure(err)
}

// InternalKVExists implements the service.
func (s *kvService) InternalKVExists(_ context.Context, r *autoscalerpb.InternalKVExistsRequest) (*autoscalerpb.InternalKVExistsReply, error) {
	_, found, err := s.get(string(r.Namespace), string(r.Key))
	return &autoscalerpb.InternalKVExistsReply{Status: succeeded(), Exists: found}, err
}

// InternalKVKeys implements the service.
func (s *kvService) InternalKVKeys(_ context.Context, r *autoscalerpb.InternalKVKeysRequest) (*autoscalerpb.InternalKVKeysReply, error) {
	keys, err := s.kv.KVKeys(string(r.Namespace), string(r.Prefix))
	out := &autoscalerpb.InternalKVKeysReply{Status: succeeded()}
	for _, key := range keys {
		out.Results = append(out.Results, []byte(key))
	}
	return out, failure(err)
}
