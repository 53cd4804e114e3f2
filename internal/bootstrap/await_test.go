package bootstrap

import (
	"context"
	"errors"
	"io"
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

// A host that lets us in but runs nothing is not asked again.
func TestAwaitSaysWhatTheHostSaid(t *testing.T) {
	h := &sshx.Fake{Name: "h", OnRun: func(_ context.Context, c sshx.Command) error {
		_, _ = io.WriteString(c.Stdout, "Please login as the user \"ubuntu\" rather than the user \"root\".\n")
		return &sshx.ExitError{Code: 142}
	}}
	r := &Run{Node: Node{Host: h}, report: func(Phase, string) {}}
	err := asStepError(r.await(t.Context()), "h", stepAwait)
	for _, want := range []string{"exit status 142", "| Please login as", "set auth.ssh_user to ubuntu"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not %q: %v", want, err)
		}
	}
}

// What a machine lacks is said with what to do.
func TestHints(t *testing.T) {
	for said, want := range map[string]string{
		"sudo: a password is required": "may not use sudo without a password",
		"sudo: a terminal is required to read the password; either use the -S option":               "may not use sudo without a password",
		"me is not in the sudoers file.":                                                            "may not use sudo without a password",
		"bash: line 1: sudo: command not found":                                                     "There is no sudo on h",
		"sh: 1: sudo: not found":                                                                    "There is no sudo on h",
		"E: Release file for http://x/InRelease is not valid yet (invalid for another 3h 2min 1s).": "The clock of h is probably wrong",
		"curl: (60) SSL certificate problem: certificate is not yet valid":                          "The clock of h is probably wrong",
		"fork: Cannot allocate memory":                                                              "The memory of h is used up",
		"E: Unable to locate package":                                                               "",
	} {
		got := (&StepError{Host: "h", Tail: []string{"before", said}, Err: &sshx.ExitError{Code: 1}}).hint()
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q", said, got)
		}
	}
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
