package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// startOptions are the flags of `ray start`, or the request of ray.init().
type startOptions struct {
	head  bool
	local bool // the cluster of one driver: nothing of it outlives the process

	address string
	port    int // 0: any free one
	nodeIP  string

	numCPUs, numGPUs, memory, objectStore *float64 // nil: what the machine has

	nodeName  string
	resources map[string]float64
	labels    map[string]string

	labelsFile string

	includeDashboard *bool // nil: yes
	dashboardHost    string
	dashboardPort    *int // nil: 8265, or the next free one
	clientPort       *int // nil: 10001 if it is free
	metricsPort      int
	nodePorts        [2]int // wanted for other machines, 0: any

	tempDir, spillDir string
	storeDir          string // on whose disk the object store is kept
	autoscaling       string
	noMonitor         bool // the autoscaler runs elsewhere
	python            string
	ownerPID          int
	system            map[string]json.RawMessage
	reconstruct       bool
	block             bool
}

func newStartOptions() *startOptions {
	return &startOptions{port: 6379, dashboardHost: "127.0.0.1", reconstruct: true}
}

// bind registers the flags.
func (o *startOptions) bind(f *pflag.FlagSet) {
	f.BoolVar(&o.head, "head", false, "start the head of a new cluster here")
	f.StringVar(&o.address, "address", "", "host:port of the head to join, or auto for one on this machine")
	f.IntVar(&o.port, "port", o.port, "port of the head; 0 takes any free one")
	f.StringVar(&o.nodeIP, "node-ip-address", "", "address that other machines reach this one by (default: found out)")
	f.StringVar(&o.nodeName, "node-name", "", "name shown for this node (default: its address)")
	f.Var(optional[float64]{&o.numCPUs, parseAmount}, "num-cpus", "CPUs to offer (default: what the machine has)")
	f.Var(optional[float64]{&o.numGPUs, parseAmount}, "num-gpus", "GPUs to offer (default: what the machine has)")
	f.Var(optional[float64]{&o.memory, parseBytes}, "memory", "bytes of memory to offer (default: what the machine has)")
	f.Var(optional[float64]{&o.objectStore, parseBytes}, "object-store-memory", "bytes of the shared-memory object store (default: 30 % of memory)")
	f.Var(jsonFlag{&o.resources}, "resources", `custom resources as JSON, such as '{"disk": 2}'`)
	f.Var(labelFlag{&o.labels}, "labels", `labels as "key=value,key2=value2"`)
	f.Var(optional[bool]{&o.includeDashboard, strconv.ParseBool}, "include-dashboard", "whether the head serves the dashboard and the job API (default: true)")
	f.StringVar(&o.dashboardHost, "dashboard-host", o.dashboardHost, "address that the dashboard listens on")
	f.Var(optional[int]{&o.dashboardPort, strconv.Atoi}, "dashboard-port", "port of the dashboard, 0 for any free one (default: 8265, or the next free one)")
	f.Var(optional[int]{&o.clientPort, strconv.Atoi}, "ray-client-server-port", "port for ray:// drivers (default: 10001 on loopback, if free)")
	f.IntVar(&o.metricsPort, "metrics-export-port", 0, "port of this node's /metrics (default: any free one, on loopback)")
	f.StringVar(&o.tempDir, "temp-dir", "", "where sessions are kept (default: RAY_TMPDIR, else /tmp/ray-<uid>)")
	f.StringVar(&o.spillDir, "object-spilling-directory", "", "where objects go when the store is full (default: in the session)")
	f.StringVar(&o.storeDir, "plasma-directory", "", "directory on whose disk the object store is kept (default: in memory)")
	f.StringVar(&o.autoscaling, "autoscaling-config", "", "cluster file that the head's autoscaler follows")
	f.BoolVar(&o.noMonitor, "no-monitor", false, "do not scale from the head, whatever --autoscaling-config says: ray autoscaler does it elsewhere")
	f.StringVar(&o.python, "python", "", "Python that runs workers (default: RAY_PYTHON, else the one beside this program or on PATH)")
	f.Var(jsonFlag{&o.system}, "system-config", "settings of the system as JSON")
	f.BoolVar(&o.reconstruct, "enable-object-reconstruction", true, "run tasks again to make lost objects")
	f.BoolVar(&o.block, "block", false, "stay in the foreground until the node ends")
	o.bindPorts(f)
	o.bindAccepted(f)
}

// bindAccepted registers upstream's options that have nothing to change here:
// there are no ports of workers, agents or Redis servers. They are accepted so
// that existing command lines work.
func (o *startOptions) bindAccepted(f *pflag.FlagSet) {
	for _, name := range []string{
		"min-worker-port", "max-worker-port", "worker-port-list",
		"dashboard-agent-listen-port", "dashboard-agent-grpc-port", "dashboard-grpc-port", "runtime-env-agent-port", "gcs-server-port",
		"include-log-monitor", "tracing-startup-hook", "redis-username", "redis-password",
		"redis-shard-ports", "proxy-server-url", "system-reserved-cpu",
		"system-reserved-memory", "cgroup-path",
	} {
		f.String(name, "", "accepted and ignored")
		_ = f.MarkHidden(name)
	}
	for _, name := range []string{
		"no-redirect-output", "disable-usage-stats", "ray-debugger-external", "enable-resource-isolation",
	} {
		f.Bool(name, false, "accepted and ignored")
		_ = f.MarkHidden(name)
	}
	new(look).bindHidden(f)
}

// applyEnvironment lets the launcher's variables win over flags: a node of a
// cluster file is what that file says.
func (o *startOptions) applyEnvironment() error {
	if text := os.Getenv("RAY_OVERRIDE_RESOURCES"); text != "" {
		var over map[string]float64
		if err := json.Unmarshal([]byte(text), &over); err != nil {
			return usagef("RAY_OVERRIDE_RESOURCES is not a JSON object of numbers: %s", err)
		}
		o.override(over)
	}
	if text := os.Getenv("RAY_OVERRIDE_LABELS"); text != "" {
		var over map[string]string
		if err := (labelFlag{&over}).Set(text); err != nil {
			return usagef("RAY_OVERRIDE_LABELS: %s", err)
		}
		if o.labels == nil {
			o.labels = map[string]string{}
		}
		for k, v := range over {
			o.labels[k] = v
		}
	}
	return nil
}

func (o *startOptions) override(over map[string]float64) {
	known := map[string]**float64{
		"CPU": &o.numCPUs, "GPU": &o.numGPUs, "memory": &o.memory, "object_store_memory": &o.objectStore,
	}
	for name, amount := range over {
		if field, ok := known[name]; ok {
			*field = &amount
			continue
		}
		if o.resources == nil {
			o.resources = map[string]float64{}
		}
		o.resources[name] = amount
	}
}

// check finds what cannot work before anything is started.
func (o *startOptions) check() error {
	switch {
	case !o.head && o.address == "":
		return usagef("Either --head or --address=HOST:PORT must be given: start a new cluster here, or join one.")
	case o.head && o.address != "":
		return usagef("--head starts a new cluster and --address joins one: give only one of them.")
	case o.port < 0 || o.port > 65535:
		return usagef("Invalid value for '--port': %d is not a port number.", o.port)
	case !o.head && o.autoscaling != "":
		return usagef("--autoscaling-config belongs to the head: add --head.")
	}
	if err := cmp.Or(o.checkPorts(), o.addLabelsFile()); err != nil {
		return err
	}
	for name := range o.resources {
		if flag, own := map[string]string{"CPU": "--num-cpus", "GPU": "--num-gpus", "memory": "--memory", "object_store_memory": "--object-store-memory"}[name]; own && os.Getenv("RAY_OVERRIDE_RESOURCES") == "" {
			return usagef("--resources must not name %s: use %s.", name, flag)
		}
		if o.resources[name] < 0 {
			return usagef("The resource %s is negative.", name)
		}
	}
	if o.objectStore != nil && *o.objectStore < minObjectStore {
		return usagef("The object store must have at least %d bytes (75 MiB); %.0f were given.", minObjectStore, *o.objectStore)
	}
	if o.storeDir != "" {
		if info, err := os.Stat(o.storeDir); err != nil || !info.IsDir() {
			return usagef("Invalid value for '--plasma-directory': %s is not a directory.", o.storeDir)
		}
		var err error
		if o.storeDir, err = filepath.Abs(o.storeDir); err != nil { // the daemon may be elsewhere
			return err
		}
	}
	if rest, ok := strings.CutPrefix(o.autoscaling, "~/"); ok {
		// No shell expands the ~ of --autoscaling-config=~/FILE, which is how
		// cluster files spell it.
		home, err := os.UserHomeDir()
		if err != nil {
			return usagef("Invalid value for '--autoscaling-config': %s", err)
		}
		o.autoscaling = filepath.Join(home, rest)
	}
	if o.autoscaling != "" {
		if _, err := os.Stat(o.autoscaling); err != nil {
			return usagef("Invalid value for '--autoscaling-config': %s", err)
		}
	}
	if o.noMonitor {
		o.autoscaling = ""
	}
	return nil
}

const minObjectStore = 75 << 20

// optional is a flag that knows whether it was given.
type optional[T any] struct {
	into  **T
	parse func(string) (T, error)
}

func (f optional[T]) Set(text string) error {
	v, err := f.parse(text)
	if err != nil {
		return err
	}
	*f.into = &v
	return nil
}

func (f optional[T]) String() string { return "" }
func (f optional[T]) Type() string   { return "value" }

// jsonFlag is a flag whose value is JSON.
type jsonFlag struct{ into any }

func (f jsonFlag) Set(text string) error {
	if err := json.Unmarshal([]byte(text), f.into); err != nil {
		return fmt.Errorf("%q is not the JSON that was expected: %w", text, err)
	}
	return nil
}

func (jsonFlag) String() string { return "" }
func (jsonFlag) Type() string   { return "json" }

// labelFlag reads "a=b,c=d", or upstream's older JSON form.
type labelFlag struct{ into *map[string]string }

func (f labelFlag) Set(text string) error {
	out := map[string]string{}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			return fmt.Errorf("%q is not a JSON object of strings: %w", text, err)
		}
		*f.into = out
		return nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return fmt.Errorf("%q is not key=value", pair)
		}
		out[key] = strings.TrimSpace(value)
	}
	*f.into = out
	return nil
}

func (labelFlag) String() string { return "" }
func (labelFlag) Type() string   { return "labels" }

func parseAmount(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%q is not an amount", text)
	}
	return v, nil
}

// parseBytes reads a number of bytes, with k, m or g (powers of 1024) if wanted.
func parseBytes(text string) (float64, error) {
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(strings.TrimSpace(text)), "b"), "i")
	unit := 1.0
	for suffix, size := range map[string]float64{"k": 1 << 10, "m": 1 << 20, "g": 1 << 30} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = rest, size
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%q is not a number of bytes", text)
	}
	return v * unit, nil
}
