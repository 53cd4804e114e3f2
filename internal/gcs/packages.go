package gcs

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"ray/internal/spec"
)

// uploaded is a package whose bytes are on the head's disk.
type uploaded struct {
	Size int64 `json:"size"`
	// Released: a job that used it is gone, or its driver is. It goes when
	// nothing else refers to it. Who uploads it or asks for it takes that back:
	// a job that uses it is about to come.
	Released bool `json:"released,omitempty"`
}

// UnmarshalJSON reads a row, also one that is the size alone.
func (u *uploaded) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &u.Size) == nil {
		return nil
	}
	type plain uploaded
	return json.Unmarshal(text, (*plain)(u))
}

func (t *Tables) putPackage(c *Change, uri string, u uploaded) {
	t.packages[uri] = u
	c.Sync = true
	c.putJSON(tablePackages, uri, u)
}

// PutPackage records that the bytes of an uploaded package are on disk.
func (t *Tables) PutPackage(uri string, size int64) (c Change) {
	t.putPackage(&c, uri, uploaded{Size: size})
	return c
}

// Package tells whether a package is there, for someone who will use it.
func (t *Tables) Package(uri string) (c Change, ok bool) {
	u, ok := t.packages[uri]
	if u.Released {
		u.Released = false
		t.putPackage(&c, uri, u)
	}
	return c, ok
}

// RemovePackage forgets a package that nothing refers to any more.
func (t *Tables) RemovePackage(uri string) (c Change) {
	delete(t.packages, uri)
	c.Sync = true
	c.remove(tablePackages, uri)
	return c
}

// release marks the packages of a job that is gone.
func (t *Tables) release(c *Change, j *spec.Job) {
	for _, uri := range packagesOf(j.RuntimeEnv) {
		if u, ok := t.packages[uri]; ok && !u.Released {
			u.Released = true
			t.putPackage(c, uri, u)
		}
	}
}

// UnusedPackages are those that were released and that no job or actor of the
// tables refers to. Nodes may still use them.
func (t *Tables) UnusedPackages() []string {
	released := map[string]bool{}
	for uri, u := range t.packages {
		if u.Released {
			released[uri] = true
		}
	}
	if len(released) == 0 {
		return nil
	}
	keep := func(env json.RawMessage) {
		for _, uri := range packagesOf(env) {
			delete(released, uri)
		}
	}
	for _, j := range t.jobs {
		if j.Type == JobSubmission || !Terminal(j.Status) {
			keep(j.RuntimeEnv)
		}
	}
	for _, a := range t.actors {
		if a.Info.State == spec.ActorDead {
			continue
		}
		if j := t.jobs[a.Info.JobID.String()]; j != nil {
			keep(j.RuntimeEnv)
		}
		maps.DeleteFunc(released, func(uri string, _ bool) bool { return bytes.Contains(a.Create.Stored, []byte(uri)) })
	}
	return slices.Sorted(maps.Keys(released))
}

// packagesOf lists the uploaded packages that a runtime environment names.
func packagesOf(env json.RawMessage) (out []string) {
	var fields struct {
		WorkingDir any   `json:"working_dir"`
		Modules    []any `json:"py_modules"`
	}
	if len(env) == 0 || json.Unmarshal(env, &fields) != nil {
		return nil
	}
	for _, v := range append(fields.Modules, fields.WorkingDir) {
		if uri, ok := v.(string); ok && strings.HasPrefix(uri, "gcs://") {
			out = append(out, uri)
		}
	}
	return out
}
