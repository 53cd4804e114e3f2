package sshx

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"ray/internal/sshx/sshtest"
)

// home gives the test a home with an OpenSSH configuration.
func home(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("SSH_AUTH_SOCK", "")
	if err := os.Mkdir(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".ssh", "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRoute(t *testing.T) {
	dir := home(t, `
Host gpu?
  HostName %h.lab.example
  User alice
  Port 2222
  ProxyJump bob@gate:2200,inner
  IdentityFile ~/.ssh/lab
  IdentitiesOnly yes
Host direct
  ProxyJump none
Host old
  ProxyCommand nc -X 5 %h %p
Match host matched
  Port 99
`)
	s, err := readSettings()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[[3]string]route{
		{"gpu1", "", ""}:             {name: "gpu1", host: "gpu1.lab.example", port: "2222", user: "alice", jumps: []string{"bob@gate:2200", "inner"}, keys: []string{dir + "/.ssh/lab"}, onlyOwn: true},
		{"gpu1:22", "carol", "x %h"}: {name: "gpu1", host: "gpu1.lab.example", port: "22", user: "carol", proxy: "x %h", keys: []string{dir + "/.ssh/lab"}, onlyOwn: true},
		{"direct", "u", ""}:          {name: "direct", host: "direct", port: "22", user: "u"},
		{"old", "u", ""}:             {name: "old", host: "old", port: "22", user: "u", proxy: "nc -X 5 %h %p"},
		{"matched", "u", ""}:         {name: "matched", host: "matched", port: "99", user: "u"},
		{"fe80::1", "u", ""}:         {name: "fe80::1", host: "fe80::1", port: "22", user: "u"},
		{"[fe80::1]:23", "u", ""}:    {name: "fe80::1", host: "fe80::1", port: "23", user: "u"},
	} {
		if got := s.route(in[0], in[1], in[2]); !reflect.DeepEqual(got, want) {
			t.Errorf("%v\n got %+v\nwant %+v", in, got, want)
		}
	}
}

// Two real servers: the second is reached through the first only by what the
// user's configuration says, which gives names, ports, users and keys.
func TestJumpHosts(t *testing.T) {
	gate, inner := sshtest.Start(t), sshtest.Start(t)
	_, gatePort, _ := net.SplitHostPort(gate.Address)
	_, innerPort, _ := net.SplitHostPort(inner.Address)
	config := fmt.Sprintf(`
Host gate
  HostName 127.0.0.1
  Port %s
  User %s
  IdentityFile %s
Host inner
  HostName 127.0.0.1
  Port %s
  ProxyJump gate
Host circle
  ProxyJump circle
`, gatePort, gate.User, gate.Key, innerPort)
	home(t, config)
	known := filepath.Join(t.TempDir(), "known")
	c := Config{Address: "inner", User: inner.User, KeyFile: inner.Key, KnownHosts: known}
	h := NewSSH(c)
	defer h.Close()
	if out, err := Output(t.Context(), h, "echo $SSH_CONNECTION"); err != nil || !strings.HasSuffix(out, innerPort) {
		t.Errorf("through the jump host: %q, %v", out, err)
	}
	pins, _ := os.ReadFile(known)
	for _, port := range []string{gatePort, innerPort} {
		if !strings.Contains(string(pins), "[127.0.0.1]:"+port+" ") {
			t.Errorf("the key of port %s is not pinned: %s", port, pins)
		}
	}
	fails := func(address string) *ConnError {
		c := c
		c.Address = address
		h := NewSSH(c)
		defer h.Close()
		var e *ConnError
		if err := h.Run(t.Context(), Command{Line: "true"}); !errors.As(err, &e) || e.Hint == "" && e.Err == nil {
			t.Fatalf("%s: %v", address, err)
		}
		return e
	}
	if e := fails("inner:1"); e.Reason != Refused || !strings.Contains(e.Error(), "jump host") {
		t.Errorf("a closed port behind the jump host: %v", e)
	}
	if e := fails("circle"); !strings.Contains(e.Error(), "circle") {
		t.Error(e)
	}
	// The jump host's own trouble names the jump host.
	home(t, strings.ReplaceAll(config, "IdentityFile "+gate.Key, ""))
	if e := fails("inner"); e.Reason != AuthBad || !strings.Contains(e.Host, "by way of") {
		t.Error(e)
	}
	// What the library does not know hinders nobody who needs it not.
	home(t, "Match exec true\n  Port 1\n")
	c.Address = inner.Address
	plain := NewSSH(c)
	defer plain.Close()
	if _, err := Output(t.Context(), plain, "true"); err != nil {
		t.Error(err)
	}
}

// A key with a passphrase works if the agent holds it, and says so if not.
func TestAgent(t *testing.T) {
	s := sshtest.Start(t)
	home(t, "")
	data, err := os.ReadFile(s.Key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParseRawPrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(t.TempDir(), "locked")
	writeLocked(t, private, locked)
	c := configOf(s)
	c.KeyFile = locked
	try := func(c Config) error {
		h := NewSSH(c)
		defer h.Close()
		return h.Run(t.Context(), Command{Line: "true"})
	}
	var e *ConnError
	if err := try(c); !errors.As(err, &e) || e.Reason != NoHostKey || !strings.Contains(e.Hint, "ssh-add") {
		t.Errorf("without an agent: %v", err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "a")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(ring, conn)
			_ = conn.Close()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", socket)
	if err := try(c); err != nil {
		t.Errorf("a locked key that the agent holds: %v", err)
	}
	c.KeyFile = ""
	if err := try(c); err != nil {
		t.Errorf("no key file, only the agent: %v", err)
	}
}

func writeLocked(t *testing.T, key any, path string) {
	t.Helper()
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}
