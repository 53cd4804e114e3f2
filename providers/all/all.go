// Package all chooses the provider that a cluster file names. It is the one
// place that knows every implementation.
package all

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"ray/internal/cluster"
	"ray/providers"
	"ray/providers/aws"
	"ray/providers/docker"
	"ray/providers/fake"
	"ray/providers/gcp"
	"ray/providers/local"
	"ray/providers/process"
)

// Options is what a provider needs besides the cluster file.
type Options struct {
	// StateDir is the cluster's own directory on the machine that calls.
	StateDir string
	// Ray is the path by which this program was called; see RayPath.
	Ray string
}

// New gives the provider of the cluster. The state_dir of the provider
// section, which the launcher writes into the head's copy of the file, goes
// before o.StateDir, so that both see the same instances.
func New(cfg *cluster.Config, o Options) (providers.Provider, error) {
	if dir := cfg.Provider.Text("state_dir"); dir != "" {
		o.StateDir = cluster.ExpandHome(dir)
	}
	if cfg.Provider.Bool("disable_node_updaters", false) {
		return nil, &providers.Error{Cause: providers.BadConfig, Op: "not supported yet: provider.disable_node_updaters",
			Hint: "machines that were set up in their image need no setup_commands, and then only their start commands are run"}
	}
	switch cfg.Provider.Type {
	case "process":
		return process.New(process.Options{Dir: filepath.Join(o.StateDir, "nodes"), Cluster: cfg.Name, Ray: o.Ray})
	case "local":
		if cfg.Provider.Text("coordinator_address") != "" {
			return nil, &providers.Error{Cause: providers.BadConfig, Op: "not supported yet: provider.coordinator_address",
				Hint: "list the hosts in head_ip and worker_ips"}
		}
		return local.New(local.Options{
			Dir: o.StateDir, Cluster: cfg.Name, Auth: cfg.Auth,
			Head: cfg.Provider.Text("head_ip"), Workers: cfg.Provider.Texts("worker_ips"),
		}), nil
	case "fake":
		return fake.New(cfg.Name), nil
	case "docker":
		return docker.New(docker.Options{Dir: o.StateDir, Config: cfg, Ray: o.Ray})
	case "aws":
		return aws.New(aws.Options{Dir: o.StateDir, Config: cfg})
	case "gcp":
		return gcp.New(gcp.Options{Dir: o.StateDir, Config: cfg})
	}
	return nil, &providers.Error{Cause: providers.BadConfig, Op: "not supported yet: provider " + cfg.Provider.Type,
		Hint: "process (nodes on this machine), docker (containers on this machine), local (machines reached by SSH), aws and gcp are there"}
}

// Check finds what only the provider can tell is wrong with a cluster file.
func Check(cfg *cluster.Config) error {
	switch cfg.Provider.Type {
	case "aws":
		return aws.Check(cfg)
	case "gcp":
		return gcp.Check(cfg)
	case "docker":
		return docker.Check(cfg)
	}
	return nil
}

// RayPath is the path by which this program was called, without following
// links: the python3 beside it is the one that its user means.
func RayPath() string {
	exe, err := os.Executable()
	if err != nil {
		return "ray"
	}
	exe = strings.TrimSuffix(exe, " (deleted)")
	called, err := exec.LookPath(os.Args[0])
	if err != nil {
		return exe
	}
	// A program may be given any name when it is started: believe it only if
	// it leads to this one.
	a, errA := os.Stat(called)
	b, errB := os.Stat(exe)
	if abs, err := filepath.Abs(called); err == nil && errA == nil && errB == nil && os.SameFile(a, b) {
		return abs
	}
	return exe
}
