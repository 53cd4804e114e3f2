package cluster

import (
	"maps"
	"math"
	"slices"
	"time"

	"ray/internal/spec"
)

// BootstrapPath is where the head finds its copy of the resolved file, and
// what start commands say; a provider whose machines share a home directory
// puts the file elsewhere and rewrites the commands.
const BootstrapPath = "~/ray_bootstrap_config.yaml"

// Config is one cluster, with every default filled in. Treat it as read-only.
type Config struct {
	Name           string
	Source         string // the file it came from, for messages
	MaxWorkers     int    // the head not counted
	UpscalingSpeed float64
	MaxCost        *float64 // US dollars by the hour for all machines, the head included; nil = no bound
	MaxDisrupted   int      // workers that a change of the file may keep from working at once; 0 = a quarter
	Consolidate    bool     // let half-empty workers go where fewer or cheaper ones do
	AutoStop       *AutoStop
	IdleTimeout    time.Duration
	Provider       Provider
	Auth           Auth
	NodeTypes      map[string]NodeType
	HeadType       string
	FileMounts     map[string]string // remote path → local path
	SyncedFiles    []string          // copied from the head to workers
	RsyncExclude   []string
	RsyncFilter    []string
	InitCommands   []string
	// HeadSetup and WorkerSetup are the set-up commands to run: those that the
	// file gives. What a provider's defaults would install, upstream's wheel and
	// the cloud's Python package, this program brings or does without.
	HeadSetup   []string
	WorkerSetup []string
	HeadStart   []string
	WorkerStart []string
	doc         map[string]any // the resolved file
	origin      origin
}

// origin is what the resolved document no longer tells about the file.
type origin struct {
	at    map[string]position // where each field stands
	unset map[string]bool     // lists of set-up commands that the file left out
}

// AutoStop is the auto_stop section: the end of a cluster that nobody uses.
type AutoStop struct {
	Idle   time.Duration
	Action string // down or stop
}

// Keeps tells whether the machines are only stopped; nil ends none.
func (a *AutoStop) Keeps() bool { return a != nil && a.Action == "stop" }

// Provider is the provider section.
type Provider struct {
	Type   string
	fields map[string]any
}

// Text gives a text field of the section, "" if it is absent.
func (p Provider) Text(key string) string { s, _ := p.fields[key].(string); return s }

// Texts gives a list field of the section.
func (p Provider) Texts(key string) []string { return texts(p.fields[key]) }

// Bool gives a truth value of the section, or otherwise if it is absent.
func (p Provider) Bool(key string, otherwise bool) bool {
	if b, ok := p.fields[key].(bool); ok {
		return b
	}
	return otherwise
}

// Section gives a mapping of the section, nil if it is absent; read-only.
func (p Provider) Section(key string) map[string]any { return sub(p.fields, key) }

// Auth is the auth section: how machines are reached.
type Auth struct {
	User         string
	PrivateKey   string
	PublicKey    string
	ProxyCommand string
	// ProxyByID: the proxy command knows machines by the provider's id.
	ProxyByID bool
}

// NodeType is one entry of available_node_types.
type NodeType struct {
	Name         string
	Resources    spec.Resources
	Labels       map[string]string
	Min, Max     int
	Price        *float64      // US dollars by the hour as the file gives it; nil = look it up
	IdleTimeout  time.Duration // the type's own or the cluster's
	Priority     float64
	NodeConfig   map[string]any
	InitCommands []string
	WorkerSetup  []string
}

// TypeNames are the node types' names, sorted.
func (c *Config) TypeNames() []string { return slices.Sorted(maps.Keys(c.NodeTypes)) }

// MinWorkers is how many workers the cluster always has.
func (c *Config) MinWorkers() int {
	n := 0
	for _, t := range c.NodeTypes {
		n += t.Min
	}
	return n
}

// newConfig makes the typed view of a resolved and checked document.
func newConfig(source string, doc map[string]any, o origin) *Config {
	minutes, _ := asFloat(doc["idle_timeout_minutes"])
	speed, _ := asFloat(doc["upscaling_speed"])
	provider := sub(doc, "provider")
	auth := sub(doc, "auth")
	c := &Config{
		Name: str(doc["cluster_name"]), Source: source, MaxWorkers: whole(doc["max_workers"]), UpscalingSpeed: speed,
		IdleTimeout: duration(minutes * 60), HeadType: str(doc["head_node_type"]),
		Provider: Provider{Type: str(provider["type"]), fields: provider},
		Auth: Auth{
			User: str(auth["ssh_user"]), PrivateKey: str(auth["ssh_private_key"]),
			PublicKey: str(auth["ssh_public_key"]), ProxyCommand: str(auth["ssh_proxy_command"]),
			ProxyByID: auth["ssh_proxy_use_node_id"] == true,
		},
		FileMounts: textsByName(doc["file_mounts"]), SyncedFiles: texts(doc["cluster_synced_files"]),
		RsyncExclude: texts(doc["rsync_exclude"]), RsyncFilter: texts(doc["rsync_filter"]),
		InitCommands: texts(doc["initialization_commands"]),
		HeadStart:    texts(doc["head_start_ray_commands"]), WorkerStart: texts(doc["worker_start_ray_commands"]),
		NodeTypes: map[string]NodeType{}, doc: doc, origin: o,
	}
	if limit, ok := asFloat(doc["max_cost_per_hour"]); ok {
		c.MaxCost = &limit
	}
	c.MaxDisrupted = whole(doc["max_disrupted_workers"])
	c.Consolidate = doc["consolidate"] == true
	if stop := sub(doc, "auto_stop"); stop != nil {
		idle, _ := asFloat(stop["idle_minutes"])
		c.AutoStop = &AutoStop{Idle: duration(idle * 60), Action: str(stop["action"])}
	}
	c.HeadSetup, c.WorkerSetup = o.commands(doc)
	types := sub(doc, "available_node_types")
	for _, name := range slices.Sorted(maps.Keys(types)) {
		c.NodeTypes[name] = c.nodeType(name, sub(types, name))
	}
	return c
}

func (c *Config) nodeType(name string, m map[string]any) NodeType {
	t := NodeType{
		Name: name, Resources: spec.Resources{}, Labels: textsByName(m["labels"]), Min: whole(m["min_workers"]),
		Max: whole(m["max_workers"]), IdleTimeout: c.IdleTimeout, NodeConfig: sub(m, "node_config"),
		InitCommands: c.InitCommands, WorkerSetup: c.WorkerSetup,
	}
	for k, v := range sub(m, "resources") {
		f, _ := asFloat(v)
		t.Resources[k] = spec.ToFixed(f)
	}
	if s, ok := asFloat(m["idle_timeout_s"]); ok {
		t.IdleTimeout = duration(s)
	}
	if price, ok := asFloat(m["price_per_hour"]); ok {
		t.Price = &price
	}
	t.Priority, _ = asFloat(m["priority"])
	if _, ok := m["initialization_commands"]; ok {
		t.InitCommands = texts(m["initialization_commands"])
	}
	if _, ok := m["worker_setup_commands"]; ok {
		t.WorkerSetup = texts(m["worker_setup_commands"])
	}
	return t
}

// duration turns seconds into a duration, an overflow into the longest one.
func duration(seconds float64) time.Duration {
	if seconds >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(seconds * float64(time.Second))
}

func str(v any) string { s, _ := v.(string); return s }

func whole(v any) int {
	f, _ := asFloat(v)
	return int(min(f, math.MaxInt32))
}

func sub(m map[string]any, key string) map[string]any {
	s, _ := m[key].(map[string]any)
	return s
}

func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func textsByName(v any) map[string]string {
	m, _ := v.(map[string]any)
	out := make(map[string]string, len(m))
	for k, item := range m {
		out[k] = str(item)
	}
	return out
}
