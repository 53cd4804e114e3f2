package bootstrap

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ray/internal/sshx"
)

// Why a host does not answer decides for how long it is asked.
func TestAwaitGivesUp(t *testing.T) {
	for reason, limits := range map[string][2]time.Duration{
		sshx.AuthBad:   {authGrace, authGrace + 5*time.Second},
		sshx.Refused:   {2 * time.Minute, 2*time.Minute + 5*time.Second},
		sshx.TimedOut:  {2 * time.Minute, 2*time.Minute + 5*time.Second},
		sshx.KeyBad:    {0, time.Second},
		sshx.Unknown:   {0, time.Second},
		sshx.NoHostKey: {0, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &sshx.Fake{Name: "h", OnRun: func(context.Context, sshx.Command) error {
				return &sshx.ConnError{Host: "h", Reason: reason, Hint: "do this"}
			}}
			r := &Run{Node: Node{Host: h, Wait: 2 * time.Minute}, report: func(Phase, string) {}}
			begun := time.Now()
			err := r.await(t.Context())
			if took := time.Since(begun); took < limits[0] || took > limits[1] {
				t.Errorf("%s: asked for %s, want %s", reason, took, limits)
			}
			var conn *sshx.ConnError
			if !errors.As(err, &conn) || !strings.Contains(err.Error(), "do this") {
				t.Errorf("%s: %v", reason, err)
			}
		})
	}
}

// A host that refuses the key at first, as its set-up has not put it there,
// and one that boots, are waited for.
func TestAwaitABoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		h := &sshx.Fake{OnRun: func(context.Context, sshx.Command) error {
			switch passed := time.Since(begun); {
			case passed < 40*time.Second:
				return &sshx.ConnError{Reason: sshx.TimedOut}
			case passed < 60*time.Second:
				return &sshx.ConnError{Reason: sshx.AuthBad}
			}
			return nil
		}}
		r := &Run{Node: Node{Host: h, Wait: 2 * time.Minute}, report: func(Phase, string) {}}
		if err := r.await(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A real full disk: what was copied, and what a command wrote, says so.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	home := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "none", home).CombinedOutput(); err != nil {
		t.Skipf("no disk can be mounted here: %s", out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(home, syscall.MNT_DETACH) })
	host := &sshx.Local{Name: "small", Home: home}
	r := &Run{Node: Node{Host: host, Config: node(t, machine(t), "head", "head").Config}, report: func(Phase, string) {}}
	for what, err := range map[string]error{
		"a command": r.commands(t.Context(), []string{"head -c 100000 /dev/zero >" + filepath.Join(home, "f")}),
		"a file":    host.WriteFile(t.Context(), "~/g", make([]byte, 100000), 0o600),
	} {
		got := asStepError(err, "small", "Running setup commands").Error()
		if !strings.Contains(strings.ToLower(got), "no space left on device") || !strings.Contains(got, "The disk of small is full") {
			t.Errorf("%s: %s", what, got)
		}
	}
}
