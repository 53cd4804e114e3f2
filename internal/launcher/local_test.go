package launcher

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/session"
	"ray/internal/sshx"
	"ray/internal/sshx/sshtest"
	"ray/providers"
)

// A cluster of two "machines" behind a real sshd, with the real program: it is
// uploaded, both nodes run, a script runs on the head, down leaves nothing.
func TestClusterOverSSH(t *testing.T) {
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
	s := sshtest.Start(t)
	_, port, _ := net.SplitHostPort(s.Address)
	dir := t.TempDir()
	file := filepath.Join(dir, "hosts.yaml")
	text := fmt.Sprintf(`
cluster_name: hosts
provider: {type: local, head_ip: "127.0.0.1:%s", worker_ips: ["localhost:%s"]}
auth: {ssh_user: %s, ssh_private_key: %s}
setup_commands: [echo set up >> ~/set-up]
head_start_ray_commands: [ray stop, "ray start --head --node-ip-address=127.0.0.1 --num-cpus=1 --object-store-memory=80000000 --port=0 --dashboard-port=0"]
worker_start_ray_commands: [ray stop, "ray start --node-ip-address=127.0.0.1 --num-cpus=1 --object-store-memory=80000000 --address=$RAY_HEAD_ADDRESS"]
`, port, port, s.User, s.Key)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	l := &Launcher{Root: filepath.Join(dir, "state"), Ray: ray, Out: &out}
	c, err := l.Select(t.Context(), Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Provider.Terminate(context.Background(), []string{"127.0.0.1:" + port, "localhost:" + port})
	})
	if err := c.Up(t.Context(), UpOptions{}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	nodes := announcedUnder(t, s.Home)
	if len(nodes) != 2 {
		t.Errorf("%d nodes run, want 2: %+v", len(nodes), nodes)
	}
	if err := c.Up(t.Context(), UpOptions{}); err != nil || !strings.Contains(out.String(), "Nothing to do") {
		t.Errorf("second up: %v\n%s", err, out.String())
	}
	script := filepath.Join(dir, "job.py")
	if err := os.WriteFile(script, []byte("import os, sys\nprint(os.environ['RAY_ADDRESS'])\nsys.exit(6)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	if err := c.Submit(t.Context(), Script{Path: script}, Streams{Out: &printed, Err: &printed}); sshx.ExitCode(err) != 6 || strings.TrimSpace(printed.String()) != c.Address() {
		t.Errorf("script ended with %v and printed %q, want %q", err, printed.String(), c.Address())
	}
	if err := c.Down(t.Context(), DownOptions{}); err != nil {
		t.Fatal(err)
	}
	if left := announcedUnder(t, s.Home); len(left) > 0 {
		t.Errorf("nodes are left: %+v", left)
	}
	list, err := c.Provider.List(t.Context())
	for _, i := range list {
		if i.State != providers.Terminated {
			t.Errorf("still taken: %+v, %v", i, err)
		}
	}
}

// announcedUnder lists the node daemons whose files lie below a directory.
func announcedUnder(t *testing.T, dir string) []session.Announcement {
	t.Helper()
	all, err := session.List()
	if err != nil {
		t.Fatal(err)
	}
	var out []session.Announcement
	for _, a := range all {
		if strings.HasPrefix(a.TempDir, dir) {
			out = append(out, a)
		}
	}
	return out
}
