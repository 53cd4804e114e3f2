package runtimeenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"ray/internal/spec"
)

// Env is a finished environment: what a worker of it is started with.
type Env struct {
	// Key is equal for equal environments; workers with different keys are not shared.
	Key string
	// Vars are set in the worker before any user import; ServerVars are those
	// that the interpreter itself reads when it starts.
	Vars       map[string]string
	ServerVars map[string]string
	Cwd        string   // empty: unchanged
	SysPath    []string // in front of the job's own
}

// Fetch brings the bytes of an uploaded package (gcs://…).
type Fetch func(ctx context.Context, uri string) ([]byte, error)

// Manager makes environments under one directory. Safe for concurrent use.
type Manager struct {
	dir   string
	fetch Fetch
	base  []string // the environment that ${VAR} refers to, as os.Environ

	mu     sync.Mutex
	making map[string]*build
}

type build struct {
	done chan struct{}
	path string
	err  error
}

// New makes a Manager that unpacks under dir.
func New(dir string, fetch Fetch) *Manager {
	return &Manager{dir: dir, fetch: fetch, base: os.Environ(), making: map[string]*build{}}
}

// request is a runtime_env as the Python package sends it.
type request struct {
	EnvVars    map[string]string `json:"env_vars"`
	WorkingDir string            `json:"working_dir"`
	PyModules  []string          `json:"py_modules"`
	Config     json.RawMessage   `json:"config"`
}

var supported = []string{"env_vars", "working_dir", "py_modules", "config"}

// Key names an environment without making it; equal contents give equal keys.
func Key(env json.RawMessage) string {
	var fields map[string]any
	if len(env) == 0 || json.Unmarshal(env, &fields) != nil {
		return ""
	}
	delete(fields, "config")
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	if len(fields) == 0 {
		return ""
	}
	text, err := json.Marshal(fields) // object keys come out sorted
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Ensure makes the environment if it is not there yet. An error is a
// *spec.ErrorInfo of type RuntimeEnvSetupError; the next Ensure tries again.
func (m *Manager) Ensure(ctx context.Context, env json.RawMessage) (Env, error) {
	out := Env{Key: Key(env), Vars: map[string]string{}, ServerVars: map[string]string{}}
	if out.Key == "" {
		return out, nil
	}
	req, err := parse(env)
	if err != nil {
		return out, failure(err)
	}
	m.variables(req.EnvVars, &out)
	if req.WorkingDir != "" {
		path, err := m.unpacked(ctx, req.WorkingDir)
		if err != nil {
			return out, failure(fmt.Errorf("working_dir %s: %w", req.WorkingDir, err))
		}
		out.Cwd = path
		out.SysPath = append(out.SysPath, path)
	}
	for _, uri := range req.PyModules {
		path, err := m.unpacked(ctx, uri)
		if err != nil {
			return out, failure(fmt.Errorf("py_modules %s: %w", uri, err))
		}
		out.SysPath = append(out.SysPath, path)
	}
	return out, nil
}

// Check tells at once whether Ensure could ever make env.
func Check(env json.RawMessage) error {
	if _, err := parse(env); err != nil {
		return failure(err)
	}
	return nil
}

func parse(env json.RawMessage) (request, error) {
	var req request
	if len(env) == 0 || string(env) == "null" {
		return req, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(env, &fields); err != nil {
		return req, fmt.Errorf("runtime_env is not an object: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(supported, name) && string(fields[name]) != "null" {
			return req, fmt.Errorf("not supported yet: runtime_env field %q", name)
		}
	}
	if err := json.Unmarshal(env, &req); err != nil {
		return req, fmt.Errorf("runtime_env: %w", err)
	}
	return req, nil
}

func failure(err error) error {
	return &spec.ErrorInfo{Type: "RuntimeEnvSetupError", Message: "Failed to set up the runtime environment: " + err.Error()}
}

// variables expands ${VAR} by the daemon's own environment and sorts the
// variables by who reads them.
func (m *Manager) variables(vars map[string]string, out *Env) {
	known := map[string]string{}
	for _, kv := range m.base {
		if k, v, ok := strings.Cut(kv, "="); ok {
			known[k] = v
		}
	}
	for k, v := range vars {
		v = expand(v, known)
		if readAtStart(k) {
			out.ServerVars[k] = v
		} else {
			out.Vars[k] = v
		}
	}
}

// expand replaces ${NAME}; an unknown name becomes nothing. A bare $NAME stays.
func expand(s string, known map[string]string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		j := strings.IndexByte(s[i:], '}')
		if j < 0 {
			break
		}
		b.WriteString(s[:i])
		b.WriteString(known[s[i+2:i+j]])
		s = s[i+j+1:]
	}
	b.WriteString(s)
	return b.String()
}

// readAtStart tells whether an interpreter or its loader reads the variable
// before any Python code runs, so that a forked worker would be too late.
func readAtStart(name string) bool {
	return strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "PYTHON") || strings.HasPrefix(name, "MALLOC_")
}

// unpacked gives the directory of a package, made once; concurrent askers wait
// for the one who makes it.
func (m *Manager) unpacked(ctx context.Context, uri string) (string, error) {
	m.mu.Lock()
	b := m.making[uri]
	if b == nil {
		b = &build{done: make(chan struct{})}
		m.making[uri] = b
		m.mu.Unlock()
		b.path, b.err = m.unpack(ctx, uri)
		if b.err != nil {
			m.mu.Lock()
			delete(m.making, uri)
			m.mu.Unlock()
		}
		close(b.done)
		return b.path, b.err
	}
	m.mu.Unlock()
	select {
	case <-b.done:
		return b.path, b.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (m *Manager) unpack(ctx context.Context, uri string) (string, error) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return "", fmt.Errorf("%q is no package URI", uri)
	}
	sum := sha256.Sum256([]byte(uri))
	path := filepath.Join(m.dir, hex.EncodeToString(sum[:12]))
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return path, nil // made by an earlier daemon; the rename below proves it whole
	}
	var data []byte
	var err error
	switch scheme {
	case "gcs":
		data, err = m.fetch(ctx, uri)
	case "file":
		data, err = os.ReadFile(rest)
	default:
		return "", fmt.Errorf("not supported yet: packages from %s://", scheme)
	}
	if err != nil {
		return "", fmt.Errorf("fetch: %w", err)
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(m.dir, "unpack-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := unzip(data, tmp, scheme != "gcs"); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", err
	}
	return path, nil
}
