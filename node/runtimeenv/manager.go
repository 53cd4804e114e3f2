package runtimeenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
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
	Python     string   // interpreter; empty: the job's own
	Bin        string   // directory of its programs; empty: unchanged
}

// Fetch brings the bytes of an uploaded package (gcs://…).
type Fetch func(ctx context.Context, uri string) ([]byte, error)

// DefaultBound is the size of the cache in bytes beyond which unused
// environments are removed.
const DefaultBound = 10 << 30

// Config says where a Manager works.
type Config struct {
	Dir    string // what is made lies below it
	LogDir string // for runtime_env_setup-<job>.log; empty: no logs
	Bound  int64  // bytes; 0 means DefaultBound
	Fetch  Fetch
	// Mounts are the folders of the node that workers in containers must see.
	Mounts []string
	// Package is the directory with the Python package, for plugins.
	Package string
	// Environ is the environment that ${VAR} refers to and programs are looked
	// for in; nil means os.Environ().
	Environ []string
}

// Manager makes environments on one node. Safe for concurrent use. Close it.
type Manager struct {
	cfg  Config
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	cache    *cache // opened by the first environment that needs it
	holds    map[string][]string
	logs     map[string]*setupLog
	versions map[string]string // of interpreters, by path
	plugins  *pluginHost       // nil until the first environment with one
	// pluginUsers are the holders of what plugins have made.
	pluginUsers map[string]*pluginHost
}

// New makes a Manager; nothing is touched yet.
func New(cfg Config) *Manager {
	if cfg.Bound == 0 {
		cfg.Bound = DefaultBound
	}
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	m := &Manager{cfg: cfg, holds: map[string][]string{}, logs: map[string]*setupLog{}, versions: map[string]string{}, pluginUsers: map[string]*pluginHost{}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// Close stops what is being made and waits for it.
func (m *Manager) Close() {
	m.stop()
	m.wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cache != nil {
		_ = m.cache.lock.Close()
	}
}

func (m *Manager) opened() (*cache, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cache != nil {
		return m.cache, nil
	}
	c, err := openCache(m.ctx, &m.wg, m.cfg.Dir, m.cfg.Bound)
	if err != nil {
		return nil, fmt.Errorf("the cache of runtime environments cannot be used: %w", err)
	}
	m.cache = c
	return c, nil
}

// Request is one asker's wish.
type Request struct {
	Env json.RawMessage
	// Holder uses the environment until Release(Holder).
	Holder string
	Job    string // names the log
	// Python is the interpreter that environments are made from and whose
	// packages stay visible in those of pip and uv.
	Python string
	// Version is the major.minor that the interpreter must have; empty: any.
	Version string
}

// Ensure makes the environment if it is not there yet. An error is a
// *spec.ErrorInfo of type RuntimeEnvSetupError; the next Ensure tries again.
func (m *Manager) Ensure(ctx context.Context, r Request) (Env, error) {
	out := Env{Key: Key(r.Env), Vars: map[string]string{}, ServerVars: map[string]string{}}
	if out.Key == "" {
		return out, nil
	}
	f, err := parse(r.Env)
	if err != nil {
		return out, failure(err)
	}
	if limit := f.timeout(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("it was not ready after %v (Timeout): consider increasing `setup_timeout_seconds` in the config of the runtime_env", limit))
		defer cancel()
	}
	if err := m.fill(ctx, r, &f, &out); err != nil {
		m.Release(r.Holder)
		if errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "No space left on device") {
			err = fmt.Errorf("%w\nThe disk of the cache %s is full: free space there, or start the node with its temporary directory on a larger disk", err, m.cfg.Dir)
		}
		m.logFor(r.Job).write("failed: " + masked(err.Error()))
		return out, failure(err)
	}
	return out, nil
}

func (m *Manager) fill(ctx context.Context, r Request, f *fields, out *Env) error {
	variables(f.EnvVars, m.cfg.Environ, out)
	if _, carried := out.Vars[hookVariable]; f.SetupHook != "" && !carried {
		out.Vars[hookVariable] = f.SetupHook
	}
	if f.WorkingDir != "" {
		path, err := m.obtain(ctx, r, m.packageRecipe(f.WorkingDir))
		if err != nil {
			return fmt.Errorf("working_dir %s: %w", masked(f.WorkingDir), err)
		}
		out.Cwd = path
		out.SysPath = append(out.SysPath, path)
	}
	for _, uri := range f.PyModules {
		path, err := m.obtain(ctx, r, m.packageRecipe(uri))
		if err != nil {
			return fmt.Errorf("py_modules %s: %w", masked(uri), err)
		}
		out.SysPath = append(out.SysPath, path)
	}
	if err := m.interpreter(ctx, r, f, out); err != nil || len(f.plugins) == 0 {
		return err
	}
	return m.plugged(ctx, r, f, out)
}

// hookVariable names the function that a worker calls before its first task,
// if the request does not carry the function itself in the same variable.
const hookVariable = "RAY_WORKER_SETUP_HOOK"

// interpreter makes the Python environment that the request asks for.
func (m *Manager) interpreter(ctx context.Context, r Request, f *fields, out *Env) error {
	var err error
	switch {
	case f.Pip != nil && len(f.Pip.Packages) > 0:
		err = m.venv(ctx, r, "pip", f.Pip, out)
	case f.Uv != nil && len(f.Uv.Packages) > 0:
		err = m.venv(ctx, r, "uv", f.Uv, out)
	case f.Conda != nil:
		err = m.conda(ctx, r, f.Conda, out)
	case f.PyExecutable != "":
		err = m.executable(ctx, r, f.PyExecutable, out)
	case f.image() != nil:
		err = m.inImage(ctx, r, f.image(), out)
	default:
		return nil
	}
	if err == nil {
		err = m.checkVersion(ctx, r, out)
	}
	return err
}

// use makes the programs of a Python environment come first on PATH.
func (m *Manager) use(prefix string, out *Env) {
	out.Bin = filepath.Join(prefix, "bin")
	out.Python = filepath.Join(out.Bin, "python")
	path := m.lookup("PATH")
	if own, ok := out.Vars["PATH"]; ok {
		path = own
	}
	out.Vars["PATH"] = out.Bin + string(os.PathListSeparator) + path
}

func (m *Manager) lookup(name string) string {
	value := ""
	for _, kv := range m.cfg.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}

// obtain gives the content of a recipe and notes who uses it.
func (m *Manager) obtain(ctx context.Context, r Request, what recipe) (string, error) {
	c, err := m.opened()
	if err != nil {
		return "", err
	}
	path, err := c.get(ctx, what, m.logFor(r.Job))
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	m.holds[r.Holder] = append(m.holds[r.Holder], what.id)
	m.mu.Unlock()
	return path, nil
}

// Release ends the use of everything that was made for the holder. One that
// holds nothing may be released, too.
func (m *Manager) Release(holder string) {
	m.mu.Lock()
	ids, c, host := m.holds[holder], m.cache, m.pluginUsers[holder]
	delete(m.holds, holder)
	delete(m.pluginUsers, holder)
	m.mu.Unlock()
	if host != nil {
		host.send(map[string]any{"release": holder})
	}
	for _, id := range ids {
		c.put(id)
	}
}

// checkVersion refuses an interpreter that the job's functions cannot be
// loaded in: pickled code belongs to one minor version.
func (m *Manager) checkVersion(ctx context.Context, r Request, out *Env) error {
	m.mu.Lock()
	v := m.versions[out.Python]
	m.mu.Unlock()
	if v == "" {
		ctx, cancel := context.WithTimeout(ctx, versionTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, out.Python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
		cmd.WaitDelay = killGrace
		var stderr strings.Builder
		cmd.Stderr = &stderr
		text, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("its interpreter %s does not run: %w\n%s", out.Python, errors.Join(err, context.Cause(ctx)), masked(stderr.String()))
		}
		lines := strings.Fields(string(text))
		if len(lines) > 0 {
			v = lines[len(lines)-1]
		}
		m.mu.Lock()
		m.versions[out.Python] = v
		m.mu.Unlock()
	}
	if r.Version != "" && v != r.Version {
		return fmt.Errorf("it has Python %s, but the driver runs Python %s: pickled functions need the same minor version; choose Python %s for the environment or start the driver with Python %s", v, r.Version, r.Version, v)
	}
	return nil
}

// versionTimeout is long, for a py_executable may fetch packages first; the
// limit of the whole environment is shorter as a rule.
const versionTimeout = 15 * time.Minute
