package head

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// pkgFile is where the bytes of a package lie.
func (h *Head) pkgFile(uri string) string {
	return filepath.Join(h.packageDir(), url.PathEscape(uri))
}

func (h *Head) pkgExists(r *request) (any, gcs.Change, error) {
	var req wire.PackageGet
	if err := r.decode(&req); err != nil {
		return nil, gcs.Change{}, err
	}
	c, ok := h.tables.Package(req.URI)
	return map[string]bool{"exists": ok}, c, nil
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
func (h *Head) HasPackage(uri string) (ok bool, err error) {
	err = h.change(func(t *gcs.Tables) (c gcs.Change, _ error) {
		c, ok = t.Package(uri)
		return c, nil
	})
	return ok, err
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
	h.pkgMu.Lock() // so that it is not removed between the two steps
	defer h.pkgMu.Unlock()
	if err == nil {
		err = os.Rename(f.Name(), h.pkgFile(uri))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("store package %s: %w", uri, err)
	}
	return h.change(func(t *gcs.Tables) (gcs.Change, error) { return t.PutPackage(uri, int64(len(data))), nil })
}

// sweepEvery is how often packages are looked for that nothing needs any more.
const sweepEvery = 5 * time.Second

// packageLoop removes the packages of jobs that are gone.
func (h *Head) packageLoop() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
			h.sweepPackages()
		}
	}
}

// sweepPackages removes what neither the tables nor a node refers to. As long
// as a node does not answer, nothing is removed.
func (h *Head) sweepPackages() {
	h.mu.Lock()
	unused := h.tables.UnusedPackages()
	h.mu.Unlock()
	if len(unused) == 0 {
		return
	}
	nodes := h.Query(h.ctx, "runtime_envs", maxRows)
	if nodes.Missing > 0 {
		return
	}
	for _, row := range nodes.Rows {
		if uses, _ := row["ref_cnt"].(float64); uses > 0 || row["success"] == nil {
			unused = slices.DeleteFunc(unused, func(uri string) bool { return row["runtime_env"] == uri })
		}
	}
	for _, uri := range unused {
		if err := h.removePackage(uri); err != nil {
			h.log.Warn("a package that nothing needs was not removed", "package", uri, "err", err)
		}
	}
}

// removePackage removes a package unless someone has asked for it meanwhile.
func (h *Head) removePackage(uri string) error {
	h.pkgMu.Lock()
	defer h.pkgMu.Unlock()
	gone := false
	err := h.change(func(t *gcs.Tables) (c gcs.Change, _ error) {
		if gone = slices.Contains(t.UnusedPackages(), uri); gone {
			c = t.RemovePackage(uri)
		}
		return c, nil
	})
	if err != nil || !gone {
		return err
	}
	if err := os.Remove(h.pkgFile(uri)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	h.log.Info("a package that nothing needs any more was removed", "package", uri)
	return nil
}
