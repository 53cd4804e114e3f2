package head

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
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

// pkgFile is where the bytes of a package lie.
func (h *Head) pkgFile(uri string) string {
	return filepath.Join(h.packageDir(), url.PathEscape(uri))
}

func (h *Head) pkgExists(r *request) (any, gcs.Change, error) {
	var req wire.PackageGet
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	_, ok := h.tables.Package(req.URI)
	return map[string]bool{"exists": ok}, gcs.Change{}, nil
}

func (h *Head) pkgPut(r *request) (any, gcs.Change, error) {
	var req wire.PackageGet
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	data := r.keepTail()
	h.background(r, func(context.Context) (any, []byte, error) { return nil, nil, h.PutPackage(req.URI, data) })
	return nil, gcs.Change{}, nil
}

func (h *Head) pkgGet(r *request) (any, gcs.Change, error) {
	var req wire.PackageGet
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	h.background(r, func(context.Context) (any, []byte, error) {
		data, err := os.ReadFile(h.pkgFile(req.URI))
		if errors.Is(err, fs.ErrNotExist) {
			err = &spec.ErrorInfo{Type: "RuntimeEnvSetupError", Message: fmt.Sprintf("package %s was never uploaded to this cluster, or its head has lost it; submit the job again", req.URI)}
		}
		return nil, data, err
	})
	return nil, gcs.Change{}, nil
}

// HasPackage tells whether an uploaded package is there.
func (h *Head) HasPackage(uri string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.tables.Package(uri)
	return ok
}

// PutPackage stores the bytes of a package and returns once they are durable.
func (h *Head) PutPackage(uri string, data []byte) error {
	if err := os.MkdirAll(h.packageDir(), 0o700); err != nil {
		return fmt.Errorf("store package %s: %w", uri, err)
	}
	f, err := os.CreateTemp(h.packageDir(), ".package-*")
	if err != nil {
		return fmt.Errorf("store package %s: %w", uri, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), h.pkgFile(uri))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("store package %s: %w", uri, err)
	}
	return h.change(func(t *gcs.Tables) (gcs.Change, error) { return t.PutPackage(uri, int64(len(data))), nil })
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
