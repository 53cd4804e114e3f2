package runtimeenv

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"ray/internal/spec"
)

// fields is a runtime_env as the Python package or a job submission sends it.
type fields struct {
	EnvVars      map[string]string `json:"env_vars"`
	WorkingDir   string            `json:"working_dir"`
	PyModules    []string          `json:"py_modules"`
	Pip          *packages         `json:"pip"`
	Uv           *packages         `json:"uv"`
	Conda        *condaField       `json:"conda"`
	PyExecutable string            `json:"py_executable"`
	ImageURI     *imageField       `json:"image_uri"`
	Container    *imageField       `json:"container"`
	SetupHook    string            `json:"worker_process_setup_hook"`
	Config       struct {
		TimeoutSeconds *float64 `json:"setup_timeout_seconds"`
		Eager          *bool    `json:"eager_install"`
	} `json:"config"`

	plugins []string // fields that are left to the node's plugins
}

var (
	supported = []string{"env_vars", "working_dir", "py_modules", "pip", "uv", "conda", "py_executable", "image_uri", "container", "config", "worker_process_setup_hook"}
	// senders are fields that only concern the side that made the request.
	senders = []string{"excludes", "_ray_release", "_ray_commit", "_inject_current_ray"}
	later   = []string{"java_jars", "nsight", "_nsight", "rocprof_sys", "_rocprof_sys", "mpi"}
)

// defaultTimeout bounds the making of an environment that says nothing itself.
const defaultTimeout = 600 * time.Second

// timeout gives how long the environment may take to make; 0 means for ever.
func (f *fields) timeout() time.Duration {
	if f.Config.TimeoutSeconds == nil {
		return defaultTimeout
	}
	return time.Duration(max(0, *f.Config.TimeoutSeconds) * float64(time.Second))
}

// packages is the content of the fields pip and uv.
type packages struct {
	Packages []string
	Check    bool
	Version  string   // of the installer itself, "==24.0"
	Options  []string // of the installer; nil: its defaults
}

// UnmarshalJSON takes a list of requirements, the path of a requirements file
// on this machine, or an object.
func (p *packages) UnmarshalJSON(text []byte) error {
	switch text[0] {
	case '[':
		return json.Unmarshal(text, &p.Packages)
	case '"':
		return p.fromFile(text)
	}
	var in struct {
		Packages   json.RawMessage `json:"packages"`
		PipCheck   bool            `json:"pip_check"`
		UvCheck    bool            `json:"uv_check"`
		PipVersion string          `json:"pip_version"`
		UvVersion  string          `json:"uv_version"`
		PipOptions []string        `json:"pip_install_options"`
		UvOptions  []string        `json:"uv_pip_install_options"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	if len(in.Packages) == 0 {
		return fmt.Errorf("it has no %q: give a list of requirements", "packages")
	}
	p.Check = in.PipCheck || in.UvCheck
	p.Version = in.PipVersion + in.UvVersion
	p.Options = in.PipOptions
	if in.UvOptions != nil {
		p.Options = in.UvOptions
	}
	if in.Packages[0] == '"' {
		return p.fromFile(in.Packages)
	}
	return json.Unmarshal(in.Packages, &p.Packages)
}

func (p *packages) fromFile(text []byte) error {
	var path string
	if err := json.Unmarshal(text, &path); err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("requirements file %s is not on this node; give its lines as a list instead: %w", path, err)
	}
	p.Packages = slices.DeleteFunc(strings.Split(string(data), "\n"), func(s string) bool { return strings.TrimSpace(s) == "" })
	return nil
}

// condaField names an environment that exists or holds a definition.
type condaField struct {
	Name       string // name or absolute path of an existing environment
	Definition []byte // text of an environment.yml
}

// definitionKey holds the unparsed text of an environment.yml: the sender had
// no YAML parser.
const definitionKey = "_environment_yaml"

// UnmarshalJSON takes a name or an object.
func (c *condaField) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		return json.Unmarshal(text, &c.Name)
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	if raw, ok := object[definitionKey].(string); ok {
		c.Definition = []byte(raw)
		return nil
	}
	var err error
	c.Definition, err = json.Marshal(object) // JSON is YAML
	return err
}

// parse reads a runtime_env and refuses what this version cannot make.
func parse(env json.RawMessage) (fields, error) {
	var f fields
	if len(env) == 0 || string(env) == "null" {
		return f, nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(env, &given); err != nil {
		return f, fmt.Errorf("runtime_env is not an object: %w", err)
	}
	maps.DeleteFunc(given, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	var installers, unknown []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch {
		case slices.Contains(later, name):
			return f, fmt.Errorf("not supported yet: runtime_env field %q", strings.TrimPrefix(name, "_"))
		case !slices.Contains(supported, name) && !slices.Contains(senders, name) && os.Getenv(pluginsVariable) != "":
			unknown = append(unknown, name)
		case !slices.Contains(supported, name) && !slices.Contains(senders, name):
			return f, fmt.Errorf("runtime_env has an unknown field %q; supported are %s", name, strings.Join(supported, ", "))
		case name == "pip", name == "uv", name == "conda":
			installers = append(installers, name)
		}
	}
	if len(installers) > 1 {
		return f, fmt.Errorf("the fields %s of runtime_env exclude each other; to use pip inside a conda environment, list the packages in the conda definition", strings.Join(installers, ", "))
	}
	if err := json.Unmarshal(env, &f); err != nil {
		return f, fmt.Errorf("runtime_env: %w", err)
	}
	f.plugins = unknown
	if f.PyExecutable != "" && len(installers) > 0 {
		return f, fmt.Errorf("the fields py_executable and %s of runtime_env exclude each other: both choose the interpreter", installers[0])
	}
	if err := f.checkImage(slices.Sorted(maps.Keys(given))); err != nil {
		return f, err
	}
	return f, checkURIs(&f)
}

func checkURIs(f *fields) error {
	for _, uri := range append([]string{f.WorkingDir}, f.PyModules...) {
		if uri == "" {
			continue
		}
		if err := checkURI(uri); err != nil {
			return err
		}
	}
	return nil
}

// Check tells at once whether Ensure could ever make env.
func Check(env json.RawMessage) error {
	if _, err := parse(env); err != nil {
		return failure(err)
	}
	return nil
}

// Eager tells whether env wants to be made when its job starts.
func Eager(env json.RawMessage) bool {
	f, err := parse(env)
	return err == nil && (f.Config.Eager == nil || *f.Config.Eager)
}

// Quick tells whether nothing has to be made for env: it only sets variables.
func Quick(env json.RawMessage) bool {
	f, err := parse(env)
	return err != nil || f.WorkingDir == "" && len(f.PyModules) == 0 && f.Pip == nil && f.Uv == nil && f.Conda == nil && f.PyExecutable == "" && f.image() == nil && len(f.plugins) == 0
}

// Key names an environment without making it; equal contents give equal keys.
func Key(env json.RawMessage) string {
	var given map[string]any
	if len(env) == 0 || json.Unmarshal(env, &given) != nil {
		return ""
	}
	delete(given, "config")
	for _, name := range senders {
		delete(given, name)
	}
	maps.DeleteFunc(given, func(_ string, v any) bool { return v == nil })
	if len(given) == 0 {
		return ""
	}
	return digest(given)
}

// digest names a value by its content.
func digest(v any) string {
	text, err := json.Marshal(v) // object keys come out sorted
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

func failure(err error) error {
	return &spec.ErrorInfo{Type: "RuntimeEnvSetupError", Message: err.Error()}
}
