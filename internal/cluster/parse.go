package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFile bounds a cluster file, in bytes.
const maxFile = 10 << 20

// Override changes top-level values of a file before it is checked; the zero
// value changes nothing.
type Override struct {
	Name       string
	MaxWorkers *int
	MinWorkers *int // of the worker type, where there is exactly one
}

// Load reads and checks the file at path.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cluster file %s does not exist", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster file: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("cluster file %s is a directory", path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("cluster file %s has %d bytes; at most %d are read", path, info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cluster file: %w", err)
	}
	return Parse(path, data)
}

// Parse reads and checks data; name stands for the file in messages. The error
// is a Problems with everything that is wrong.
func Parse(name string, data []byte) (*Config, error) { return ParseWith(name, data, Override{}) }

// ParseWith is Parse with some values replaced.
func ParseWith(name string, data []byte, o Override) (*Config, error) {
	c := &checker{file: filepath.ToSlash(name), at: map[string]position{}}
	if len(data) > maxFile {
		return nil, Problems{{File: c.file, Message: fmt.Sprintf("has %d bytes; at most %d are read", len(data), maxFile)}}
	}
	root, err := parseYAML(data)
	if err != nil {
		return nil, Problems{syntaxProblem(c.file, err)}
	}
	if root.Kind != yaml.MappingNode {
		return nil, Problems{{File: c.file, Line: root.Line, Column: root.Column,
			Message: "expected a mapping with cluster_name, provider and more; got " + describe(root)}}
	}
	value, err := (&converter{}).value(root)
	if err != nil {
		return nil, Problems{syntaxProblem(c.file, err)}
	}
	doc := value.(map[string]any)
	c.object(root, "", topFields)
	c.provider(root, doc)
	c.convertLegacy(doc)
	o.apply(doc)
	typesOK := len(c.problems) == 0
	resolved := doc
	if typesOK {
		resolved = fillDefaults(doc)
	}
	c.semantics(doc, resolved)
	if len(c.problems) > 0 {
		return nil, c.problems.sorted()
	}
	return newConfig(name, resolved, origin{at: c.at, unset: unset(doc)}), nil
}

func (o Override) apply(doc map[string]any) {
	if o.Name != "" {
		doc["cluster_name"] = o.Name
	}
	if o.MaxWorkers != nil {
		doc["max_workers"] = int64(*o.MaxWorkers)
	}
	if o.MinWorkers == nil {
		return
	}
	doc["min_workers"] = int64(*o.MinWorkers)
	var workers []map[string]any
	for name, v := range sub(doc, "available_node_types") {
		if m, ok := v.(map[string]any); ok && name != str(doc["head_node_type"]) {
			workers = append(workers, m)
		}
	}
	if len(workers) == 1 {
		workers[0]["min_workers"] = int64(*o.MinWorkers)
	}
}

var reLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)

// syntaxProblem turns an error of the YAML reader into a problem with a line.
func syntaxProblem(file string, err error) Problem {
	if m := reLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		return Problem{File: file, Line: line, Column: 1, Message: "not YAML: " + m[2]}
	}
	return Problem{File: file, Message: err.Error()}
}

// Document is the resolved file as plain values; a copy.
func (c *Config) Document() map[string]any { return cloneValue(c.doc).(map[string]any) }

// Marshal writes the resolved file as JSON text (which is YAML too): what the
// head reads. Its no_restart says, to upstream's autoscaler what it says, and
// to this one that what reading derives is derived already, so that reading it
// again gives the same cluster.
func (c *Config) Marshal() []byte {
	doc := c.Document()
	if doc["no_restart"] == nil {
		doc["no_restart"] = false
	}
	return append([]byte(fileJSON(doc)), '\n')
}

// With gives a copy whose provider section has the given fields besides its
// own; the launcher uses it to tell the head where things are.
func (c *Config) With(provider map[string]any) *Config {
	doc := c.Document()
	section := sub(doc, "provider")
	for k, v := range provider {
		section[k] = v
	}
	return newConfig(c.Source, doc, c.origin)
}

// Named gives a copy that messages call by another file's name.
func (c *Config) Named(source string) *Config { return newConfig(source, c.Document(), c.origin) }

// Edit gives a copy whose document f has changed; f must keep it valid.
func (c *Config) Edit(f func(doc map[string]any)) *Config {
	doc := c.Document()
	f(doc)
	return newConfig(c.Source, doc, c.origin)
}

// Since gives a copy that knows, as from does, which keys the file that both
// were made of left to their defaults.
func (c *Config) Since(from *Config) *Config {
	o := c.origin
	o.unset = from.origin.unset
	return newConfig(c.Source, c.Document(), o)
}

// Problem is a mistake at a field of the file, found after reading it.
func (c *Config) Problem(path, message string) Problem {
	look := &checker{file: filepath.ToSlash(c.Source), at: c.origin.at}
	look.addAt(path, "%s", message)
	return look.problems[0]
}

// WithFileMounts gives a copy with other file mounts (remote path → local path).
func (c *Config) WithFileMounts(mounts map[string]string) *Config {
	doc := c.Document()
	section := map[string]any{}
	for k, v := range mounts {
		section[k] = v
	}
	doc["file_mounts"] = section
	return newConfig(c.Source, doc, c.origin)
}

func cloneValue(v any) any {
	switch x := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(x))
		for k, item := range x {
			m[k] = cloneValue(item)
		}
		return m
	case []any:
		l := make([]any, len(x))
		for i, item := range x {
			l[i] = cloneValue(item)
		}
		return l
	}
	return v
}

// secret tells whether a field's value must not be shown.
func secret(key string) bool {
	key = strings.ToLower(key)
	for _, s := range []string{"credential", "secret", "password", "token", "access_key"} {
		if strings.Contains(key, s) {
			return true
		}
	}
	return false
}

func redact(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, item := range x {
			if x[k] = redact(item); secret(k) && item != nil {
				x[k] = "<redacted>"
			}
		}
	case []any:
		for i, item := range x {
			x[i] = redact(item)
		}
	}
	return v
}

// Redacted is the resolved file as plain values, secrets left out; a copy.
func (c *Config) Redacted() map[string]any { return redact(c.Document()).(map[string]any) }

// Show is the resolved file as YAML, secrets left out.
func (c *Config) Show() (string, error) {
	out, err := yaml.Marshal(plainFloats(c.Redacted()))
	return string(out), err
}

// ShowJSON is Show as JSON.
func (c *Config) ShowJSON() string { return fileJSON(c.Redacted()) }

// yamlFloat is written with a point, without which a reader of YAML 1.1 takes
// it for text or for a whole number.
type yamlFloat float64

// MarshalYAML implements yaml.Marshaler.
func (f yamlFloat) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: fileJSON(float64(f))}, nil
}

func plainFloats(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, item := range x {
			x[k] = plainFloats(item)
		}
	case []any:
		for i, item := range x {
			x[i] = plainFloats(item)
		}
	case float64:
		if !math.IsInf(x, 0) && !math.IsNaN(x) {
			return yamlFloat(x)
		}
	}
	return v
}
