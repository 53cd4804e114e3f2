package testbed

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// User is the account that a host's key opens, besides root.
const User = "ubuntu"

const userID = 1500

// Host is one machine of the world.
type Host struct {
	Addr string // IPv4 address in the world
	name string
	dir  string
	link string
	stop chan struct{} // closed to pull the plug
	gone chan struct{} // closed when every process of the host has ended
}

// NewHost prepares the disk of the n-th host, which key (a line of
// authorized_keys) may enter.
func NewHost(n int, key string) (*Host, error) {
	h := &Host{Addr: fmt.Sprintf("172.31.%d.%d", n/250, n%250+1), link: "tbh" + strconv.Itoa(n)}
	h.name = "ip-" + strings.ReplaceAll(h.Addr, ".", "-")
	h.dir = filepath.Join(stateDir, "hosts", h.name)
	return h, h.prepare(key)
}

func (h *Host) prepare(key string) error {
	upper := filepath.Join(h.dir, "upper")
	for _, d := range []string{"work", "root", "upper/etc/ssh"} {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o755); err != nil {
			return err
		}
	}
	// What the machine keeps in these must not show on a host.
	for d, mode := range map[string]os.FileMode{"tmp": 0o777 | os.ModeSticky, "var/tmp": 0o777 | os.ModeSticky, "home": 0o755, "root": 0o700, "mnt": 0o755} {
		p := filepath.Join(upper, d)
		if err := os.MkdirAll(p, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(p, mode); err != nil {
			return err
		}
		if err := syscall.Setxattr(p, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("hiding /%s: %w", d, err)
		}
	}
	account := map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::/home/%s:/bin/bash\n", User, userID, userID, User),
		"group":  fmt.Sprintf("%s:x:%d:\n", User, userID),
		"shadow": User + ":*:19000:0:99999:7:::\n",
	}
	for name, line := range account {
		old, err := os.ReadFile("/etc/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(upper, "etc", name), append(old, line...), 0o644); err != nil {
			return err
		}
	}
	files := map[string]string{
		"hostname": h.name + "\n", "resolv.conf": "",
		"hosts": fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", h.Addr, h.name),
		"ssh/testbed_sshd": "Port 22\nHostKey /etc/ssh/testbed_key\nPasswordAuthentication no\nUsePAM no\nUseDNS no\n" +
			"PrintMotd no\nMaxStartups 100\nMaxSessions 100\nSubsystem sftp internal-sftp\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(upper, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := authorize(filepath.Join(upper, "home", User), key, userID); err != nil {
		return err
	}
	if err := authorize(filepath.Join(upper, "root"), key, 0); err != nil {
		return err
	}
	return makeKey(filepath.Join(upper, "etc/ssh/testbed_key"))
}

func authorize(home, key string, uid int) error {
	ssh := filepath.Join(home, ".ssh")
	if err := os.MkdirAll(ssh, 0o700); err != nil {
		return err
	}
	file := filepath.Join(ssh, "authorized_keys")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		return err
	}
	for _, p := range []string{home, ssh, file} {
		if err := os.Chown(p, uid, uid); err != nil {
			return err
		}
	}
	return nil
}

func makeKey(file string) error {
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	return nil
}

// Boot powers the host on and returns when its sshd answers.
func (h *Host) Boot() error {
	h.stop, h.gone = make(chan struct{}), make(chan struct{})
	booted := make(chan error)
	go h.run(h.stop, h.gone, booted)
	if err := <-booted; err != nil {
		<-h.gone
		return fmt.Errorf("%s: %w", h.name, err)
	}
	if err := h.answers(30 * time.Second); err != nil {
		h.Crash()
		return err
	}
	return nil
}

// run owns the host's first process, and the thread that this dies with.
func (h *Host) run(stop, gone chan struct{}, booted chan error) {
	defer close(gone)
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	log, err := os.OpenFile(filepath.Join(h.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		booted <- err
		return
	}
	defer log.Close()
	cmd := again("host", h.dir, h.name, h.Addr)
	cmd.Stdout, cmd.Stderr = log, log
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		booted <- err
		return
	}
	err = ip(fmt.Sprintf("link add %s type veth peer name eth0 netns %d", h.link, cmd.Process.Pid),
		fmt.Sprintf("link set %s master %s up", h.link, bridge))
	if err == nil {
		_, err = io.WriteString(in, "go\n")
	}
	booted <- err
	if err == nil {
		<-stop
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (h *Host) answers(within time.Duration) error {
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", h.Addr+":22", time.Second)
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			_, err = io.ReadFull(conn, make([]byte, 4))
			_ = conn.Close()
		}
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(h.dir, "log"))
			return fmt.Errorf("%s: sshd does not answer: %w\n%s", h.name, err, text)
		}
	}
}

// Crash pulls the plug: every process ends at once and nobody is told. The
// disk stays, for Boot.
func (h *Host) Crash() {
	close(h.stop)
	<-h.gone
}

// Unplug takes the host's cable out: packets to it are lost. Plug puts it in.
func (h *Host) Unplug() error { return ip("link set " + h.link + " nomaster") }

// Plug undoes Unplug.
func (h *Host) Plug() error { return ip("link set " + h.link + " master " + bridge) }
