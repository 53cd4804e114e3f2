package runtimeenv

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ray/internal/sshx/podmantest"
)

// packScript packs an interpreter, its library and the machine's libraries
// that they need as a root file system.
const packScript = `
set -e
py=$(readlink -f "$1"); base=$("$py" -c 'import sys; print(sys.base_prefix)'); lib=$("$py" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
mkdir -p "$2/bin" "$2/tmp" "$2/etc" "$2/$(dirname "$py")" "$2/$(dirname "$lib")"
echo rt > "$2/etc/rt-image"
cp -L "$py" "$2/$py"
printf '#!/bin/sh\nexec %s "$@"\n' "$py" > "$2/bin/python3"; chmod +x "$2/bin/python3"
cp -L /bin/sh "$2/bin/sh"
tar -c -C / --exclude=site-packages --exclude=dist-packages --exclude=test --exclude=__pycache__ --exclude='config-*' ".$lib" | tar -x -C "$2"
{ ldd "$py" /bin/sh; find "$lib/lib-dynload" -name '*.so' -exec ldd {} + ; } 2>/dev/null | grep -o '/[^ )]*' | grep '\.so' | sort -u | while read -r f; do
  [ -e "$f" ] || continue; mkdir -p "$2/$(dirname "$f")"; cp -L "$f" "$2/$f"
done
`

// podman makes a store of its own and an image in it, or skips.
func podman(t *testing.T, py string) (image string) {
	t.Helper()
	tool, dir := podmantest.Store(t)
	for _, args := range [][]string{
		{"/bin/sh", "-c", packScript, "pack", py, dir + "/root"},
		{"/bin/sh", "-c", `tar -c -C "$1" . | "$2" import - localhost/rt-image:1`, "import", dir + "/root", tool},
	} {
		if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	if text, err := exec.Command(tool, "run", "--rm", "--network=host", "--pid=host", "--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000",
		"localhost/rt-image:1", "/bin/sh", "-c", ":").CombinedOutput(); err != nil {
		t.Skipf("podman cannot run containers on this machine: %v: %s", err, text)
	}
	return "localhost/rt-image:1"
}

func TestAForkServerRunsInAnImage(t *testing.T) {
	py, version := python(t)
	image := podman(t, py)
	packageDir, err := filepath.Abs("../../python")
	if err != nil {
		t.Fatal(err)
	}
	m := manager(t, Config{Mounts: []string{packageDir}})
	for field, env := range map[string]json.RawMessage{
		"image_uri": ask(`{"image_uri": %q, "env_vars": {"LD_RT": "1"}}`, image),
		"container": ask(`{"container": {"image": %q, "run_options": ["--env=RT_OPTION=yes"]}}`, image),
	} {
		made, err := m.Ensure(t.Context(), Request{Env: env, Holder: field, Python: py, Version: version})
		if err != nil {
			t.Fatal(err)
		}
		text, err := exec.Command(made.Python, "-c", "import os; print(open('/etc/rt-image').read(), os.getenv('RT_OPTION'))").Output()
		if err != nil || !strings.Contains(string(text), "rt") || strings.Contains(string(text), "yes") != (field == "container") {
			t.Errorf("%s: %q, %v", field, text, err)
		}
		readyInImage(t, made.Python, packageDir)
		m.Release(field)
	}
	_, err = m.Ensure(t.Context(), Request{Env: ask(`{"image_uri": "127.0.0.1:1/none:1"}`), Holder: "h", Python: py, Version: version})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1/none:1") || !strings.Contains(err.Error(), "exit status 125") {
		t.Error(err)
	}
}

// readyInImage starts a fork server as the daemon does and lets it end as the
// daemon's end would.
func readyInImage(t *testing.T, python, packageDir string) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	conn, err := net.FileConn(ours)
	_ = ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", "import sys; sys.path.insert(0, sys.argv[1]); from ray._core.forkserver import main; main(3)", packageDir)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{theirs}, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	var said struct {
		Op  string `json:"op"`
		PID int    `json:"pid"`
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err == nil {
		err = json.Unmarshal(buf[:n], &said)
	}
	if err != nil || said.Op != "ready" {
		t.Errorf("%q, %v", buf[:n], err)
	} else if line, err := os.ReadFile("/proc/" + strconv.Itoa(said.PID) + "/cmdline"); err != nil || !strings.Contains(string(line), "forkserver") {
		t.Errorf("process %d of this machine is %q, %v", said.PID, line, err)
	}
	_ = conn.Close()
	_ = cmd.Wait() // hangs if it does not end with its socket
}

func TestWhatAnImageExcludes(t *testing.T) {
	for env, want := range map[string]string{
		`{"image_uri": "i", "pip": ["a"]}`:                 "image_uri and pip of runtime_env exclude each other",
		`{"image_uri": "i", "working_dir": "gcs://a.zip"}`: "image_uri and working_dir",
		`{"container": {"image": "i"}, "conda": "base"}`:   "container and conda",
		`{"container": {}}`:                                "names no image",
		`{"image_uri": "--privileged"}`:                    "names no image",
		`{"image_uri": 5}`:                                 "cannot unmarshal",
	} {
		if err := Check(json.RawMessage(env)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
	if Quick(json.RawMessage(`{"image_uri": "i"}`)) {
		t.Error("an image is made without waiting")
	}
}
