package head

import (
	"ray/internal/gcs"
)

// kvRequest is the JSON of every kv call.
type kvRequest struct {
	NS        string `json:"ns"`
	Key       string `json:"key"`
	Prefix    any    `json:"prefix"` // kv.del: bool, kv.list: string
	Overwrite bool   `json:"overwrite"`
}

func (h *Head) kvGet(r *request) (any, gcs.Change, error) {
	var req kvRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	value, found := h.tables.KVGet(req.NS, req.Key)
	// The answer has a tail: it goes out by itself, in the committer's order.
	r.later = true
	h.committer.Add(nil, false, func(err error) { r.reply(map[string]bool{"found": found}, value, err) })
	return nil, gcs.Change{}, nil
}

func (h *Head) kvPut(r *request) (any, gcs.Change, error) {
	var req kvRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	added, change := h.tables.KVPut(req.NS, req.Key, r.keepTail(), req.Overwrite)
	return map[string]bool{"added": added}, change, nil
}

func (h *Head) kvDel(r *request) (any, gcs.Change, error) {
	var req kvRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	prefix, _ := req.Prefix.(bool)
	count, change := h.tables.KVDelete(req.NS, req.Key, prefix)
	return map[string]int{"count": count}, change, nil
}

func (h *Head) kvList(r *request) (any, gcs.Change, error) {
	var req kvRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	prefix, _ := req.Prefix.(string)
	return map[string][]string{"keys": h.tables.KVList(req.NS, prefix)}, gcs.Change{}, nil
}

func (h *Head) kvExists(r *request) (any, gcs.Change, error) {
	var req kvRequest
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	_, found := h.tables.KVGet(req.NS, req.Key)
	return map[string]bool{"exists": found}, gcs.Change{}, nil
}

// change makes a change from outside of a session and waits until it is stored.
func (h *Head) change(f func(*gcs.Tables) (gcs.Change, error)) error {
	stored := make(chan error, 1)
	h.mu.Lock()
	c, err := f(h.tables)
	if err != nil {
		h.mu.Unlock()
		return err
	}
	h.commit(c, func(err error) { stored <- err })
	h.mu.Unlock()
	return <-stored
}
