package bootstrap

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/internal/sshx/podmantest"
)

// A node in a container of a real engine: made from nothing, left alone, lost
// and made again.
func TestNodeInEngine(t *testing.T) { podmantest.Each(t, testNodeInEngine) }

func testNodeInEngine(t *testing.T, e podmantest.Engine) {
	n, dir, _ := dockerNode(t, fmt.Sprintf("docker: {image: %q, container_name: box, pull_before_run: false, use_podman: %v, run_options: [\"%s\"]}",
		e.Image, !e.Docker, strings.Join(e.Options, `", "`)))
	n.Host.(*sshx.Local).Env["PATH"] = os.Getenv("PATH") // the real command, not the one that the other tests make
	mounted := filepath.Join(dir, "mounted")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mounted, "run.sh"), []byte("echo from a file"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run.sh", filepath.Join(mounted, "link")); err != nil {
		t.Fatal(err)
	}
	n.Config = n.Config.Edit(func(doc map[string]any) {
		doc["file_mounts"] = map[string]any{"~/a dir": mounted, "/opt/there": mounted}
	})
	start := func() {
		t.Helper()
		if err := Start(t.Context(), n, nil); err != nil {
			t.Fatal(err)
		}
	}
	said := func(line string) string {
		t.Helper()
		out, err := sshx.Output(t.Context(), Inside(&n), line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		return strings.TrimSpace(out)
	}
	start()
	for line, want := range map[string]string{
		"cat ~/set-up ~/ray-calls; cat ~/.ray/demo-token":                 "set-up\nstart --head\nsecret",
		"cat " + cluster.BootstrapPath:                                    "config",
		"'./a dir/link'; /opt/there/run.sh; stat -c %a /opt/there/run.sh": "from a file\nfrom a file\n750",
		"echo $LANG; pwd": "C.UTF-8\n/root",
	} {
		if got := said(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	// The object store's share, where engines give 64 MB.
	if n, err := strconv.Atoi(said("df -m --output=size /dev/shm | tail -1")); err != nil || n <= 64 {
		t.Errorf("/dev/shm has %d MB: %v", n, err)
	}
	err := Inside(&n).Run(t.Context(), sshx.Command{Line: `[ "$A" = "it's" ] && exit 3`, Env: map[string]string{"A": "it's"}})
	if sshx.ExitCode(err) != 3 {
		t.Error(err)
	}
	// What is interrupted ends in the container as well.
	short, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	if err := Inside(&n).Run(short, sshx.Command{Line: "sleep 1234"}); err == nil {
		t.Error("a command outlived its context")
	}
	if left := said("grep -la 1234 /proc/[0-9]*/cmdline | grep -v self || true"); strings.Contains(said("cat /proc/[0-9]*/comm"), "sleep") {
		t.Errorf("still running in the container: %s", left)
	}

	// Again: the same container, and no set-up.
	said("echo mark >~/mark")
	start()
	if got := said("cat ~/mark ~/set-up"); got != "mark\nset-up" {
		t.Errorf("after the second start: %q", got)
	}
	// Lost, it is made again, with its set-up.
	if err := StopContainer(t.Context(), &n); err != nil {
		t.Fatal(err)
	}
	if runs, err := ContainerRuns(t.Context(), &n); err != nil || runs {
		t.Errorf("stopped: %v %v", runs, err)
	}
	start()
	if got := said("ls ~/mark 2>/dev/null; cat ~/set-up"); got != "set-up" {
		t.Errorf("in the new container: %q", got)
	}
	// The machine's initialization commands have run once.
	if text, err := os.ReadFile(filepath.Join(dir, "init")); err != nil || string(text) != "init\n" {
		t.Errorf("%q %v", text, err)
	}
}
