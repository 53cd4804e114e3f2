package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

const (
	bridge   = "tb0"
	gateway  = "172.31.255.254"
	network  = "172.31.0.0/16"
	stateDir = "/mnt" // a tmpfs of the world
	isolated = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
)

// Probe says why no world can be made on this machine, or nil.
func Probe() error {
	if os.Geteuid() != 0 {
		return errors.New("the test bed needs root: it makes namespaces and mounts")
	}
	for _, tool := range []string{"/usr/sbin/sshd", "ip", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("the test bed needs %s: apt-get install openssh-server iproute2", tool)
		}
	}
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: isolated}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the test bed cannot make namespaces here: %w", err)
	}
	return nil
}

// again is this program, run anew in namespaces of its own. It is killed when
// the calling thread ends, which therefore must be locked until then.
func again(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: isolated, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	return cmd
}

// EnterWorld runs this program's "world" verb with args in a new world and
// returns its exit status.
func EnterWorld(args []string) (int, error) {
	if err := Probe(); err != nil {
		return 1, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := again(append([]string{"world"}, args...)...)
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("the world ended: %w", err)
	}
	return 0, nil
}

// WorldInit is the first process of a world: it mounts, makes the bridge that
// joins the hosts, runs this program's "laptop" verb and reaps until that ends.
func WorldInit(args []string) (int, error) {
	if os.Getpid() != 1 {
		return 1, errors.New("testbed world is what testbed run starts: run that")
	}
	if err := mountAll([]mount{
		{"none", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC, ""},
		{"tmpfs", stateDir, "tmpfs", 0, "mode=755"},
	}); err != nil {
		return 1, err
	}
	if err := ownHome(); err != nil {
		return 1, err
	}
	if err := syscall.Sethostname([]byte("laptop")); err != nil {
		return 1, err
	}
	if err := ip("link set lo up", "link add "+bridge+" type bridge forward_delay 0",
		"addr add "+gateway+"/16 dev "+bridge, "link set "+bridge+" up"); err != nil {
		return 1, err
	}
	pid, err := syscall.ForkExec("/proc/self/exe", append([]string{"testbed", "laptop"}, args...),
		&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 1, err
	}
	return reap(pid)
}

// ownHome lets the command read root's home, apart from its SSH keys and known
// hosts, and keeps what it writes there in the world: ssh(1) ignores HOME.
func ownHome() error {
	dir := stateDir + "/roothome"
	for _, d := range []string{"/upper/.ssh", "/work"} {
		if err := os.MkdirAll(dir+d, 0o700); err != nil {
			return err
		}
	}
	if err := syscall.Setxattr(dir+"/upper/.ssh", "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		return fmt.Errorf("hiding /root/.ssh: %w", err)
	}
	return mountAll([]mount{{"overlay", "/root", "overlay", 0, "lowerdir=/root,upperdir=" + dir + "/upper,workdir=" + dir + "/work"}})
}

// reap waits for every child and returns when that of the given PID has ended.
func reap(pid int) (int, error) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, err
		case got == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case got == pid:
			return status.ExitStatus(), nil
		}
	}
}

// mount is one call of mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.kind, m.target, err)
		}
	}
	return nil
}

// ip runs commands of ip(8) in one batch.
func ip(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(lines, "; "), err, out)
	}
	return nil
}
