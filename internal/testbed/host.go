package testbed

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// User is the account that a host's key opens, besides root.
const User = "ubuntu"

const (
	userID   = 1500
	bootFile = "boot.json"
	keysDir  = "/run/testbed" // on a host
)

// boot is what the first process of a host is told.
type boot struct {
	Addr, Public, Name string
	Binds              []string
}

// Spec is what a host is to be.
type Spec struct {
	Addr   string // IPv4 address in the world
	Public string // another one, "" for none
	Name   string // host name; default: made of the address
	// Keys are lines of authorized_keys by user. Users are made; root needs no making.
	Keys map[string]string
	Env  map[string]string // what every login shell has
	// Binds are directories of the machine below a home, shown read-only.
	Binds []string
	// Metadata answers at 169.254.169.254, as a cloud's metadata service; nil for none.
	Metadata http.Handler
}

// Host is one machine of the world.
type Host struct {
	Spec
	dir  string
	link string
	pid  int           // of its first process, while it is on
	stop chan struct{} // closed to pull the plug
	gone chan struct{} // closed when every process of the host has ended
}

// NewHost prepares the disk of a host.
func NewHost(s Spec) (*Host, error) {
	ip := net.ParseIP(s.Addr).To4()
	if ip == nil {
		return nil, fmt.Errorf("%q is no IPv4 address", s.Addr)
	}
	if s.Name == "" {
		s.Name = "ip-" + strings.ReplaceAll(s.Addr, ".", "-")
	}
	h := &Host{Spec: s, link: "tb" + hex.EncodeToString(ip), dir: filepath.Join(stateDir, "hosts", s.Addr)}
	return h, h.prepare()
}

// hiddenDirs must not show what the machine keeps in them.
var hiddenDirs = map[string]os.FileMode{
	"tmp": 0o777 | os.ModeSticky, "var/tmp": 0o777 | os.ModeSticky, "home": 0o755, "root": 0o755, "mnt": 0o755,
}

func (h *Host) prepare() error {
	upper := filepath.Join(h.dir, "upper")
	for _, d := range []string{"work", "root", "keys", "upper/etc/ssh", "upper/etc/profile.d"} {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o755); err != nil {
			return err
		}
	}
	for d, mode := range hiddenDirs {
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
	for _, b := range h.Binds {
		if err := os.MkdirAll(filepath.Join(upper, b), 0o755); err != nil {
			return err
		}
	}
	if err := h.accounts(upper); err != nil {
		return err
	}
	if err := h.etc(upper); err != nil {
		return err
	}
	data, err := json.Marshal(boot{Addr: h.Addr, Public: h.Public, Name: h.Name, Binds: h.Binds})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(h.dir, bootFile), data, 0o600); err != nil {
		return err
	}
	return makeKey(filepath.Join(upper, "etc/ssh/testbed_key"))
}

// accounts makes the users, and says who may log in as each.
func (h *Host) accounts(upper string) error {
	var passwd, group, shadow strings.Builder
	id := userID
	for _, user := range slices.Sorted(maps.Keys(h.Keys)) {
		if err := h.Admit(user, h.Keys[user]); err != nil {
			return err
		}
		if user == "root" {
			continue
		}
		fmt.Fprintf(&passwd, "%s:x:%d:%d::/home/%s:/bin/bash\n", user, id, id, user)
		fmt.Fprintf(&group, "%s:x:%d:\n", user, id)
		fmt.Fprintf(&shadow, "%s:*:19000:0:99999:7:::\n", user)
		home := filepath.Join(upper, "home", user)
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		if err := os.Chown(home, id, id); err != nil {
			return err
		}
		id++
	}
	for name, lines := range map[string]string{"passwd": passwd.String(), "group": group.String(), "shadow": shadow.String()} {
		old, err := os.ReadFile("/etc/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(upper, "etc", name), append(old, lines...), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Admit sets who may log in as a user, also while the host runs.
func (h *Host) Admit(user, keys string) error {
	file := filepath.Join(h.dir, "keys", user)
	if err := os.WriteFile(file+".new", []byte(keys+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func (h *Host) etc(upper string) error {
	var env strings.Builder
	for _, k := range slices.Sorted(maps.Keys(h.Env)) {
		fmt.Fprintf(&env, "export %s=%s\n", k, h.Env[k])
	}
	for name, text := range map[string]string{
		"hostname": h.Name + "\n", "resolv.conf": "", "profile.d/testbed.sh": env.String(),
		"hosts": fmt.Sprintf("127.0.0.1 localhost\n%s %s\n%s metadata.google.internal\n", h.Addr, h.Name, metadataAddr),
		"ssh/testbed_sshd": "Port 22\nHostKey /etc/ssh/testbed_key\nPasswordAuthentication no\nUsePAM no\nUseDNS no\n" +
			"AuthorizedKeysFile " + keysDir + "/%u\nPrintMotd no\nMaxStartups 100\nMaxSessions 100\nSubsystem sftp internal-sftp\n",
	} {
		if err := os.WriteFile(filepath.Join(upper, "etc", name), []byte(text), 0o644); err != nil {
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
		return fmt.Errorf("%s: %w", h.Name, err)
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
	cmd := again("host", h.dir)
	cmd.Stdout, cmd.Stderr = log, log
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		booted <- err
		return
	}
	h.pid = cmd.Process.Pid
	stopMetadata, err := h.connect(h.pid)
	if err == nil {
		_, err = io.WriteString(in, "go\n")
	}
	booted <- err
	if err == nil {
		<-stop
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	stopMetadata()
}

// connect puts the cable in, and starts the metadata service.
func (h *Host) connect(pid int) (stop func(), err error) {
	lines := []string{
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", h.link, pid),
		fmt.Sprintf("link set %s master %s up", h.link, bridge),
	}
	for _, a := range h.addrs() { // any address is of this world
		lines = append(lines, "route replace "+a+"/32 dev "+bridge)
	}
	if err := ip(lines...); err != nil || h.Metadata == nil {
		return func() {}, err
	}
	listener, err := listenInside(pid)
	if err != nil {
		return func() {}, err
	}
	server := &http.Server{Handler: h.Metadata, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	return func() { _ = server.Close(); <-ended }, nil
}

func (h *Host) addrs() []string {
	if h.Public == "" {
		return []string{h.Addr}
	}
	return []string{h.Addr, h.Public}
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
			return fmt.Errorf("%s: sshd does not answer: %w\n%s", h.Name, err, text)
		}
	}
}

// Crash pulls the plug: every process ends at once and nobody is told. The
// disk stays, for Boot.
func (h *Host) Crash() {
	close(h.stop)
	<-h.gone
}

// Erase removes the disk of a host that is off.
func (h *Host) Erase() error { return os.RemoveAll(h.dir) }

// Unplug takes the host's cable out: packets to it are lost. Plug puts it in.
func (h *Host) Unplug() error { return ip("link set " + h.link + " nomaster") }

// Plug undoes Unplug.
func (h *Host) Plug() error { return ip("link set " + h.link + " master " + bridge) }
