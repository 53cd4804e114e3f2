package launcher

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ray/internal/session"
)

// TestMain lets the test binary stand in for a launcher that is killed.
func TestMain(m *testing.M) {
	if root := os.Getenv("LAUNCHER_TEST_ROOT"); root != "" {
		l := &Launcher{Root: root, Out: os.Stdout}
		c, err := l.Select(context.Background(), Source{File: os.Getenv("LAUNCHER_TEST_FILE")})
		if err == nil {
			err = c.Up(context.Background(), UpOptions{})
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A launcher that dies by SIGKILL at any point leaves nothing that `down` does
// not find: no machine, no process, no file.
func TestKilledUpThenDown(t *testing.T) {
	for _, at := range []string{"setup", "start", "daemon"} {
		t.Run(at, func(t *testing.T) { killedUp(t, at) })
	}
}

func killedUp(t *testing.T, at string) {
	dir := t.TempDir()
	reached := filepath.Join(dir, "reached")
	hang := "sleep 1000 & echo $! > " + reached + "; wait"
	commands := map[string]string{"setup": "true", "start": "true"}
	switch at {
	case "daemon": // one that has left its parents, as the node daemon does
		commands["start"] = "setsid -f bash -c 'echo $$ > " + reached + "; exec sleep 1000' </dev/null >/dev/null 2>&1; sleep 1000"
	default:
		commands[at] = hang
	}
	file := filepath.Join(dir, "demo.yaml")
	text := fmt.Sprintf("cluster_name: demo\nprovider: {type: process}\navailable_node_types: {head: {resources: {CPU: 1}}}\nhead_node_type: head\nsetup_commands:\n- |\n  %s\nhead_start_ray_commands:\n- |\n  %s\n", commands["setup"], commands["start"])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "state")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LAUNCHER_TEST_ROOT="+root, "LAUNCHER_TEST_FILE="+file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := waitForPID(t, reached)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := session.Identify(pid); err != nil {
		t.Fatalf("the command ended with the launcher, so there is nothing to test: %v", err)
	}
	l := &Launcher{Root: root}
	c, err := l.Select(t.Context(), Source{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Down(t.Context(), DownOptions{}); err != nil {
		t.Fatal(err)
	}
	if who, err := session.Identify(pid); err == nil {
		t.Errorf("process %v is left", who)
	}
	var left []string
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, p)
		}
		return nil
	})
	if len(left) > 0 {
		t.Errorf("files are left: %q", left)
	}
}

func waitForPID(t *testing.T, file string) int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		data, _ := os.ReadFile(file)
		var pid int
		if strings.HasSuffix(string(data), "\n") {
			if _, err := fmt.Sscan(string(data), &pid); err == nil {
				return pid
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the launcher did not get that far")
		}
	}
}
