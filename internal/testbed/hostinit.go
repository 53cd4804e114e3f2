package testbed

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// HostInit is the first process of a host: it makes the host's root its own,
// starts sshd and reaps until that ends. It waits for a line on its standard
// input, which says that the network cable is in.
func HostInit(dir string) (int, error) {
	if os.Getpid() != 1 {
		return 1, errors.New("testbed host is what testbed run starts: run that")
	}
	data, err := os.ReadFile(filepath.Join(dir, bootFile))
	if err != nil {
		return 1, err
	}
	var b boot
	if err := json.Unmarshal(data, &b); err != nil {
		return 1, err
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return 1, fmt.Errorf("no network: %w", err)
	}
	if err := syscall.Sethostname([]byte(b.Name)); err != nil {
		return 1, err
	}
	if err := b.network(); err != nil {
		return 1, err
	}
	if err := ownRoot(dir, b.Binds); err != nil {
		return 1, err
	}
	runtime.LockOSThread() // the set of privileges is a thread's, and sshd inherits this one's
	if err := dropPrivileges(); err != nil {
		return 1, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 1, err
	}
	pid, err := syscall.ForkExec("/usr/sbin/sshd", []string{"/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/testbed_sshd"},
		&syscall.ProcAttr{Dir: "/", Files: []uintptr{null.Fd(), 1, 2},
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}})
	if err != nil {
		return 1, err
	}
	return reap(pid)
}

// network: every address is on the link, and only hosts of this world answer.
func (b boot) network() error {
	lines := []string{"link set lo up", "addr add " + metadataAddr + "/32 dev lo", "addr add " + b.Addr + "/32 dev eth0"}
	if b.Public != "" {
		lines = append(lines, "addr add "+b.Public+"/32 dev eth0")
	}
	return ip(append(lines, "link set eth0 up", "route add default dev eth0 src "+b.Addr)...)
}

// ownRoot makes the overlay, with the file systems of a running machine, the root.
func ownRoot(dir string, binds []string) error {
	root := filepath.Join(dir, "root")
	safe := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV)
	if err := mountAll([]mount{
		{"none", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""},
		{"overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir)},
		{"proc", root + "/proc", "proc", safe | syscall.MS_NOEXEC, ""},
		{"sysfs", root + "/sys", "sysfs", safe | syscall.MS_NOEXEC, ""},
		{"tmpfs", root + "/dev", "tmpfs", syscall.MS_NOSUID, "mode=755,size=1m"},
		{"tmpfs", root + "/run", "tmpfs", safe, "mode=755,size=64m"},
	}); err != nil {
		return err
	}
	for name, minor := range map[string]int{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := device(filepath.Join(root, "dev", name), 1, minor); err != nil {
			return err
		}
	}
	if err := device(root+"/dev/tty", 5, 0); err != nil {
		return err
	}
	for _, d := range []string{"dev/pts", "dev/shm", "run/sshd", ".old"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := mountAll([]mount{
		{"devpts", root + "/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"},
		{"tmpfs", root + "/dev/shm", "tmpfs", safe, "mode=1777,size=2g"},
	}); err != nil {
		return err
	}
	for link, to := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(to, filepath.Join(root, "dev", link)); err != nil {
			return err
		}
	}
	if err := bindAll(root, append(binds, dir+"/keys")); err != nil {
		return err
	}
	if err := syscall.PivotRoot(root, root+"/.old"); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := syscall.Unmount("/.old", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the machine's root: %w", err)
	}
	return os.Remove("/.old")
}

// bindAll shows directories of the machine at the same place, and the last,
// the host's keys, where its sshd looks; all read-only.
func bindAll(root string, dirs []string) error {
	for at, d := range dirs {
		target := filepath.Join(root, d)
		if at == len(dirs)-1 {
			target = filepath.Join(root, keysDir)
		}
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := mountAll([]mount{
			{d, target, "", syscall.MS_BIND, ""},
			{"none", target, "", syscall.MS_REMOUNT | syscall.MS_BIND | syscall.MS_RDONLY, ""},
		}); err != nil {
			return err
		}
	}
	return nil
}

func device(file string, major, minor int) error {
	if err := syscall.Mknod(file, syscall.S_IFCHR|0o666, major<<8|minor); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.Chmod(file, 0o666)
}

// dropPrivileges gives up what would reach through to the machine: loading
// modules, raw I/O, rebooting, setting the clock, making devices.
func dropPrivileges() error {
	const prCapbsetDrop = 24
	for _, capability := range []uintptr{16, 17, 22, 25, 27} {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prCapbsetDrop, capability, 0); errno != 0 {
			return fmt.Errorf("dropping capability %d: %w", capability, errno)
		}
	}
	return nil
}
