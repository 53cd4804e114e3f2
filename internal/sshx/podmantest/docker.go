package podmantest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each runs the test with Podman and with Docker. An engine that this machine
// has not is a skipped subtest that says why.
func Each(t *testing.T, test func(t *testing.T, e Engine)) {
	t.Helper()
	t.Run("podman", func(t *testing.T) { test(t, Start(t)) })
	t.Run("docker", func(t *testing.T) { test(t, StartDocker(t)) })
}

// StartDocker starts a Docker daemon of the test's own, or skips the test with
// the reason. It makes no bridge and no firewall rules, so that the machine's
// network stays as it is, and lives in namespaces of its own for processes and
// mounts, so that with its first process all of it is gone. Environment
// variables of the test lead docker to it.
func StartDocker(t *testing.T) Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the Docker daemon needs root")
	}
	libraries := unpacked(t)
	daemon, err := exec.LookPath("dockerd")
	if err != nil {
		t.Skip("no dockerd: install Debian's docker.io, or let CI=1 scripts/test unpack it")
	}
	tool, err := exec.LookPath("docker")
	if err != nil {
		t.Skip("no docker: install Debian's docker.io or docker-cli, or let CI=1 scripts/test unpack it")
	}
	dir, err := os.MkdirTemp("/tmp", "raydock-") // short: sockets are below
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	group := filepath.Base(dir)
	t.Cleanup(func() { removeGroups(group) })
	socket := "unix://" + dir + "/sock"
	t.Setenv("DOCKER_HOST", socket)
	t.Setenv("DOCKER_CONFIG", dir)
	var log bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", "mount --make-rslave / && mount -t proc proc /proc && mount -t tmpfs tmpfs /run && exec \"$@\"", "daemon",
		daemon, "--data-root", dir+"/data", "--exec-root", dir+"/exec", "-p", dir+"/pid", "-H", socket, "--storage-driver", "vfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--cgroup-parent", group, "--exec-opt", "native.cgroupdriver=cgroupfs")
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	ended := run(cmd)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if ids, err := exec.CommandContext(ctx, tool, "ps", "-a", "-q").Output(); err == nil && len(ids) > 0 {
			_ = exec.CommandContext(ctx, tool, append([]string{"rm", "-f"}, strings.Fields(string(ids))...)...).Run()
		}
		if cmd.Process != nil {
			_ = cmd.Process.Kill() // the first of its namespace: with it all the others end
		}
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); exec.Command(tool, "version").Run() != nil; time.Sleep(100 * time.Millisecond) {
		select {
		case <-ended: // and what it has printed is whole
			t.Skipf("the Docker daemon does not run on this machine: %s", last(log.String()))
		default:
		}
		if time.Now().After(deadline) {
			t.Skip("the Docker daemon does not answer within a minute")
		}
	}
	e := image(t, tool, dir)
	e.Docker = true
	return e
}

// run starts the command and closes the channel when it has ended. The thread
// that starts it stays: the command is killed when that ends.
func run(cmd *exec.Cmd) (ended chan struct{}) {
	begun := make(chan struct{})
	ended = make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(ended)
		err := cmd.Start()
		close(begun)
		if err == nil {
			err = cmd.Wait()
		}
		_, _ = fmt.Fprintln(cmd.Stderr, err)
	}()
	<-begun
	return ended
}

// unpacked puts Docker first in PATH where scripts/test has unpacked it, beside
// the project's virtual environment, and gives its libraries' directories.
func unpacked(t *testing.T) (libraries string) {
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		root := filepath.Join(dir, ".venv", "docker")
		if _, err := os.Stat(filepath.Join(root, "usr/sbin/dockerd")); err == nil {
			t.Setenv("PATH", root+"/usr/bin:"+root+"/usr/sbin:"+os.Getenv("PATH"))
			dirs, _ := filepath.Glob(root + "/lib/*-linux-gnu")
			more, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu")
			return strings.Join(append(dirs, more...), ":")
		}
	}
	return ""
}

// removeGroups removes the control groups that the daemon leaves.
func removeGroups(name string) {
	var dirs []string
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		roots, _ := filepath.Glob(pattern)
		for _, root := range roots {
			_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, p)
				}
				return nil
			})
		}
	}
	for _, dir := range slices.Backward(dirs) {
		_ = os.Remove(dir)
	}
}

// last is the end of a log, enough for a reason.
func last(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
