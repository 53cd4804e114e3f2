package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ray/internal/sshx/podmantest"
)

// A cluster of containers, with the real program: up, a task on a worker that
// the head's autoscaler launches as a container of its own, down.
func TestClusterOfContainers(t *testing.T) {
	podmantest.Each(t, testClusterOfContainers)
}

func testClusterOfContainers(t *testing.T, e podmantest.Engine) {
	if testing.Short() {
		t.Skip("starts daemons: left out by -short")
	}
	ray := os.Getenv("RAY_BINARY")
	if ray == "" {
		ray = "../../bin/ray"
	}
	ray, err := filepath.Abs(ray)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ray); err != nil {
		t.Skipf("no program at %s: scripts/build makes it", ray)
	}
	dir := t.TempDir()
	file, script := filepath.Join(dir, "containers.yaml"), filepath.Join(dir, "job.py")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf(`
cluster_name: containers
provider: {type: docker, use_podman: %v, network: host, image: %q, run_options: ["%s"]}
max_workers: 1
available_node_types:
  head: {resources: {CPU: 0}, node_config: {}}
  cpu: {resources: {CPU: 1}, max_workers: 1, node_config: {}}
head_node_type: head
head_start_ray_commands: [ray stop, "ray start --head --node-ip-address=127.0.0.1 --port=0 --dashboard-port=0 --autoscaling-config=~/ray_bootstrap_config.yaml"]
worker_start_ray_commands: [ray stop, "ray start --node-ip-address=127.0.0.1 --address=$RAY_HEAD_ADDRESS"]
`, !e.Docker, e.Image, strings.Join(e.Options, `", "`))
	write(file, text)
	write(script, "import os, ray\nray.init()\n@ray.remote\ndef where():\n    return os.environ['RAY_CLOUD_INSTANCE_ID'], os.getcwd()\n"+
		"print('mine', os.environ['RAY_CLOUD_INSTANCE_ID'])\nprint('worker', ray.get(where.remote())[0])\n")
	root, err := os.MkdirTemp("/tmp", "raypod-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, ray, args...)
		cmd.WaitDelay = time.Second
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_STATE_HOME="+filepath.Join(dir, "state"), "RAY_TMPDIR="+root, "RAY_ADDRESS=", "RAY_CLUSTER=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("ray %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	t.Cleanup(func() { run("down", "-y", file) })
	run("up", "-y", file)
	if out := run("up", "-y", file); !strings.Contains(out, "Nothing to do") {
		t.Errorf("the second up: %s", out)
	}
	said := run("submit", file, script)
	worker := regexp.MustCompile(`worker (i-[0-9a-f]+)`).FindStringSubmatch(said)
	if worker == nil || !strings.Contains(said, "mine i-") || strings.Contains(said, "mine "+worker[1]) {
		t.Errorf("the script said %s", said)
	}
	if out := run("list", "nodes"); !strings.Contains(out, "Total: 2") { // over the dashboard's port
		t.Error(out)
	}
	// Idle, it stops itself, and goes on with the same containers.
	write(file, text+"auto_stop: {idle_minutes: 0.15, action: stop}\n")
	run("up", "-y", file)
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(run("clusters", "--json"), `"head": "stopped"`); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the cluster has not stopped: %s", run("clusters", "--json"))
		}
	}
	write(file, text)
	if out := run("up", "-y", file); !strings.Contains(out, "Starting it again") {
		t.Errorf("up of the stopped cluster: %s", out)
	}
	if out := run("submit", file, script); !strings.Contains(out, "worker "+worker[1]) || !strings.Contains(out, said[strings.Index(said, "mine i-"):][:15]) {
		t.Errorf("before it stopped the script said %s\nnow %s", said, out)
	}
	if out := run("down", "-y", file); !strings.Contains(out, "none remains") {
		t.Error(out)
	}
	if left, err := exec.Command(e.Tool, "ps", "-a", "-q").Output(); err != nil || len(left) > 0 {
		t.Errorf("containers left: %s %v", left, err)
	}
}
