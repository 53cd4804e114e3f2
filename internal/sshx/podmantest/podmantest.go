// Package podmantest gives tests a container engine: Podman with a store of
// its own, or a Docker daemon of its own, and an image whose programs are this
// machine's, mounted read-only. Only tests import it.
package podmantest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Engine is what a test gives to containers.
type Engine struct {
	Tool   string // the command
	Docker bool   // or Podman
	Image  string
	// Options are for `run`: the machine's programs, its network (a
	// sandbox may have no other), and limits that a sandbox allows.
	Options []string
}

// layout makes an empty root in which the machine's directories are mounted.
const layout = `
set -e
mkdir -p "$1" && cd "$1"
mkdir -p usr tmp root etc proc sys dev run var opt/bin
chmod 1777 tmp
echo 'root:x:0:0:root:/root:/bin/bash' > etc/passwd
echo 'root:x:0:' > etc/group
for d in bin sbin lib lib64; do
  if [ -L /$d ]; then cp -P /$d $d; elif [ -d /$d ]; then mkdir $d; fi
done
printf '#!/bin/sh\nexec %s "$@"\n' "$2" > opt/bin/python3
chmod +x opt/bin/python3
`

// Start gives the engine for the time of the test, or skips the test with the
// reason. Environment variables of the test lead podman to its store.
func Start(t *testing.T) Engine {
	t.Helper()
	tool, dir := Store(t)
	return image(t, tool, dir)
}

// image makes the image, and tries it.
func image(t *testing.T, tool, dir string) Engine {
	t.Helper()
	python, base := interpreter(t)
	e := Engine{Tool: tool, Image: "localhost/raypod:1", Options: []string{"--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000", "-e", "PATH=/opt/bin:/usr/local/bin:/usr/bin:/bin"}}
	for _, d := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", base} {
		info, err := os.Lstat(d)
		if err == nil && info.IsDir() && (d == "/usr" || !strings.HasPrefix(d, "/usr/")) {
			e.Options = append(e.Options, "-v", d+":"+d+":ro")
		}
	}
	for _, args := range [][]string{
		{"/bin/sh", "-c", layout, "layout", dir + "/root", python},
		{"/bin/sh", "-c", `tar -c -C "$1" . | "$2" import - "$3"`, "import", dir + "/root", tool, e.Image},
	} {
		if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s cannot make images on this machine: %v: %s", filepath.Base(tool), err, text)
		}
	}
	try := append(append([]string{"run", "--rm", "--network=host"}, e.Options...), e.Image, "/bin/bash", "-c", "python3 --version")
	if text, err := exec.Command(tool, try...).CombinedOutput(); err != nil {
		t.Skipf("%s cannot run containers on this machine: %v: %s", filepath.Base(tool), err, text)
	}
	return e
}

// Store gives podman a store of the test's own, in a directory that ends with
// it, or skips the test with the reason.
func Store(t *testing.T) (tool, dir string) {
	t.Helper()
	tool, err := exec.LookPath("podman")
	if err != nil {
		t.Skip("no podman: install Debian's podman and runc")
	}
	dir, err = os.MkdirTemp("/tmp", "raypod-") // short: podman puts sockets below
	if err != nil {
		t.Fatal(err)
	}
	runtime := ""
	if path, err := exec.LookPath("runc"); err == nil {
		runtime = "runtime = \"" + path + "\"\n"
	}
	for name, text := range map[string]string{
		"CONTAINERS_CONF":         "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n" + runtime,
		"CONTAINERS_STORAGE_CONF": "[storage]\ndriver = \"vfs\"\ngraphroot = \"" + dir + "/store\"\nrunroot = \"" + dir + "/run\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(name, path)
	}
	// After Setenv, so that it runs before the variables are gone and the store
	// that it removes is the test's own.
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = exec.CommandContext(ctx, tool, "rm", "-f", "-a", "-t", "0").Run()
		_ = os.RemoveAll(dir)
	})
	return tool, dir
}

// interpreter is this machine's Python and where it is installed.
func interpreter(t *testing.T) (python, base string) {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import os, sys; print(os.path.realpath(sys.executable)); print(os.path.realpath(sys.base_prefix))").Output()
	if err != nil {
		t.Skipf("no python3: %v", err)
	}
	python, base, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	return python, base
}
