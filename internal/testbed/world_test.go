package testbed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ray/internal/testbed"
	"ray/internal/testbed/moto"
)

// build gives the command testbed, made once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "testbed")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "testbed")
	out, err := exec.Command("go", "build", "-o", binary, "./cmd/testbed").CombinedOutput()
	_, _ = os.Stderr.Write(out)
	return binary, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv(insideVar) == "" {
		if binary, err := build(); err == nil {
			_ = os.RemoveAll(filepath.Dir(binary))
		}
	}
	os.Exit(code)
}

// missing skips a test that lacks something, but not in CI.
func missing(t *testing.T, why any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// command is testbed with the arguments; it dies with this process.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if err := testbed.Probe(); err != nil {
		missing(t, err)
	}
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// pythonBinds lets hosts have this project's Python where it is installed
// below a home; elsewhere they see it anyway.
func pythonBinds() []string {
	out, err := exec.Command("../../.venv/bin/python", "-c", "import sys; print(sys.base_prefix)").Output()
	prefix := strings.TrimSpace(string(out))
	if err != nil || !strings.HasPrefix(prefix, "/root/") && !strings.HasPrefix(prefix, "/home/") {
		return nil
	}
	return []string{"--bind", prefix, "--path", prefix + "/bin"}
}

const insideVar = "TESTBED_TEST"

// inside tells whether the test runs in a world. Outside it runs the same test
// in one, with the options, and reports how that went.
func inside(t *testing.T, options ...string) bool {
	t.Helper()
	if os.Getenv(insideVar) == t.Name() {
		return true
	}
	t.Parallel()
	if os.Getenv("RAY_BINARY") == "" {
		missing(t, "RAY_BINARY is not set: run scripts/test testbed")
	}
	args := append([]string{"run"}, options...)
	args = append(args, pythonBinds()...)
	if strings.Contains(strings.Join(options, " "), "aws") {
		program := moto.Program("../..")
		if program == "" {
			missing(t, moto.Missing)
		}
		args = append(args, "--moto", program)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args = append(args, "--", self, "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "4m")
	runtime.LockOSThread() // the world dies with the thread that started it
	defer runtime.UnlockOSThread()
	cmd := command(t, args...)
	cmd.Env = append(os.Environ(), insideVar+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("in the world: %v\n%s", err, out)
	}
	return false
}

// bed is the world from the inside.
type bed struct {
	*testing.T
	home string // of this laptop
}

func (b bed) write(name, text string) string {
	b.Helper()
	path := filepath.Join(b.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// commandLimit bounds each command, so that one that hangs says what it was at.
const commandLimit = 80 * time.Second

func (b bed) cmd(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(b.Context(), commandLimit)
	b.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Getenv("RAY_BINARY"), args...)
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "HOME="+b.home, "XDG_STATE_HOME=")
	return cmd
}

// try runs ray and gives what it printed.
func (b bed) try(args ...string) (string, error) {
	out, err := b.cmd(args...).CombinedOutput()
	return string(out), err
}

// ray runs ray, which must end well.
func (b bed) ray(args ...string) string {
	b.Helper()
	begun := time.Now()
	out, err := b.try(args...)
	if err != nil {
		b.Fatalf("ray %s: %v after %.0f s\n%s", strings.Join(args, " "), err, time.Since(begun).Seconds(), out)
	}
	b.Logf("ray %s: %.1f s", args[0], time.Since(begun).Seconds())
	return out
}

// refused runs ray, which must fail and say all of want.
func (b bed) refused(want []string, args ...string) {
	b.Helper()
	out, err := b.try(args...)
	if err == nil {
		b.Errorf("ray %s ended well:\n%s", strings.Join(args, " "), out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			b.Errorf("ray %s does not say %q:\n%s", strings.Join(args, " "), w, out)
		}
	}
}

// control asks the bed.
func (b bed) control(method, path string, body, into any) {
	b.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		b.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.Context(), method, os.Getenv("TESTBED_CONTROL")+path, bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s %s: %s %v: %s", method, path, resp.Status, err, out)
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			b.Fatal(err)
		}
	}
}

// instances are those that the cloud has.
func (b bed) instances() []testbed.Instance {
	b.Helper()
	var list []testbed.Instance
	b.control("GET", "/instances", nil, &list)
	return list
}

// empty checks that nothing is left, on paper and in fact.
func (b bed) empty() {
	b.Helper()
	if list := b.instances(); len(list) > 0 {
		b.Errorf("left running: %+v", list)
	}
	b.until("every host is gone", func() bool {
		var hosts []testbed.HostState
		b.control("GET", "/hosts", nil, &hosts)
		return len(hosts) == 0
	})
}

// until waits for something to become true.
func (b bed) until(what string, true func() bool) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); !true(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("not so after a minute: %s", what)
		}
	}
}

// waitFor reads until a text has come, and goes on reading afterwards; false
// if it never comes.
func waitFor(r io.Reader, text string) bool {
	var got []byte
	for buffer := make([]byte, 4096); ; {
		n, err := r.Read(buffer)
		if got = append(got, buffer[:n]...); bytes.Contains(got, []byte(text)) {
			go func() { _, _ = io.Copy(io.Discard, r) }() // ends with the writer
			return true
		}
		if err != nil {
			return false
		}
	}
}
