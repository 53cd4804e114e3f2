package sshx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ray/internal/sshx/sshtest"
)

func configOf(s *sshtest.Server) Config {
	return Config{Address: s.Address, User: s.User, KeyFile: s.Key, KnownHosts: filepath.Join(s.Dir, "known")}
}

func connect(t *testing.T, s *sshtest.Server) *SSH {
	t.Helper()
	h := NewSSH(configOf(s))
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func TestSSH(t *testing.T) {
	s := sshtest.Start(t)
	t.Run("Commands", func(t *testing.T) { testCommands(t, connect(t, s)) })
	t.Run("Files", func(t *testing.T) { testFiles(t, connect(t, s), filepath.Join(t.TempDir(), "there")) })
	t.Run("Forward", func(t *testing.T) { testForward(t, connect(t, s)) })
	t.Run("Cancel", func(t *testing.T) { testCancel(t, connect(t, s)) })
	t.Run("Environment", func(t *testing.T) {
		c := configOf(s)
		c.Env = map[string]string{"PATH": "~/.ray/bin", "RAY_TMPDIR": "~/x y"}
		h := NewSSH(c)
		defer h.Close()
		out, err := Output(t.Context(), h, `echo "$PATH"; echo "$RAY_TMPDIR"; echo $HOME`)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(out, "\n")
		if home := lines[2]; !strings.HasPrefix(lines[0], home+"/.ray/bin:/") || lines[1] != home+"/x y" {
			t.Errorf("environment is %q", lines)
		}
	})
	t.Run("Reconnects", func(t *testing.T) {
		h := connect(t, s)
		if _, err := Output(t.Context(), h, "true"); err != nil {
			t.Fatal(err)
		}
		_ = h.client.Close() // as if the link had gone
		if out, err := Output(t.Context(), h, "echo again"); err != nil || out != "again" {
			t.Errorf("after a lost connection: %q, %v", out, err)
		}
	})
	t.Run("Failures", func(t *testing.T) { testFailures(t, s) })
}

func TestLocal(t *testing.T) {
	h := &Local{Name: "here", Home: t.TempDir()}
	t.Run("Commands", func(t *testing.T) { testCommands(t, h) })
	t.Run("Files", func(t *testing.T) { testFiles(t, h, filepath.Join(h.Home, "there")) })
	t.Run("Forward", func(t *testing.T) { testForward(t, h) })
	t.Run("Cancel", func(t *testing.T) { testCancel(t, h) })
	t.Run("OutsideIsRefused", func(t *testing.T) {
		if err := h.Upload(t.Context(), "/etc/hostname", "/tmp/never-written", Filter{}); err == nil {
			t.Error("a file of this machine could be overwritten")
		}
	})
}

func testCommands(t *testing.T, h Host) {
	var out, errOut strings.Builder
	err := h.Run(t.Context(), Command{
		Line: `cat; echo "$A"; echo oops >&2; exit 3`, Env: map[string]string{"A": `q'"$x`}, Stdin: strings.NewReader("in\n"), Stdout: &out, Stderr: &errOut,
	})
	if ExitCode(err) != 3 || out.String() != "in\nq'\"$x\n" || errOut.String() != "oops\n" {
		t.Errorf("ended with %v, printed %q and %q", err, out.String(), errOut.String())
	}
	var exit *ExitError
	if err := h.Run(t.Context(), Command{Line: "kill -9 $$"}); !errors.As(err, &exit) || exit.Signal != "KILL" || exit.Code != 137 {
		t.Errorf("a killed command ended with %v", err)
	}
}

func testFiles(t *testing.T, h Host, there string) {
	from := t.TempDir()
	for name, text := range map[string]string{"a.txt": "A", "sub/b.txt": "B", "sub/skip.log": "no", "c d'e": "C", ".ignored": "sub/never\n", "sub/never": "x"} {
		p := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a.txt", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(from, "a.txt"), 0o750); err != nil {
		t.Fatal(err)
	}
	filter := Filter{Exclude: []string{"*.log"}, Ignore: []string{".ignored"}}
	for range 2 { // again over what is there
		if err := h.Upload(t.Context(), from, there, filter); err != nil {
			t.Fatal(err)
		}
	}
	back := filepath.Join(t.TempDir(), "back")
	if err := h.Download(t.Context(), there, back, Filter{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	_ = filepath.WalkDir(back, func(p string, _ fs.DirEntry, _ error) error {
		rel, _ := filepath.Rel(back, p)
		got = append(got, rel)
		return nil
	})
	if want := ". .ignored a.txt c d'e link sub sub/b.txt"; strings.Join(got, " ") != want {
		t.Errorf("copied %q, want %q", strings.Join(got, " "), want)
	}
	if info, err := os.Stat(filepath.Join(back, "a.txt")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("a.txt: %v, %v", info, err)
	}
	one := filepath.Join(there, "deep", "one")
	if err := h.Upload(t.Context(), filepath.Join(from, "a.txt"), one, Filter{}); err != nil {
		t.Fatal(err)
	}
	if data, err := h.ReadFile(t.Context(), one); err != nil || string(data) != "A" {
		t.Errorf("one file: %q, %v", data, err)
	}
	here := filepath.Join(t.TempDir(), "x", "one")
	if err := h.Download(t.Context(), one, here, Filter{}); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(here); string(data) != "A" {
		t.Errorf("downloaded %q", data)
	}
	if err := h.WriteFile(t.Context(), filepath.Join(there, "new", "f"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(there, "new", "f")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("written file: %v, %v", info, err)
	}
	if _, err := h.ReadFile(t.Context(), filepath.Join(there, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading nothing: %v", err)
	}
	if err := h.Upload(t.Context(), filepath.Join(from, "nothing"), one, Filter{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("uploading nothing: %v", err)
	}
}

func testForward(t *testing.T, h Host) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	f, err := h.Forward(t.Context(), "127.0.0.1:0", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := net.Dial("tcp", f.(*forwarder).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("hello"))
	_ = c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Errorf("through the forwarded port came %q, %v", got, err)
	}
}

func testCancel(t *testing.T, h Host) {
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx, Command{Line: "echo up; exec sleep 100", Stdout: pw}) }()
	if _, err := pr.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	cancel()
	if err := <-done; err == nil {
		t.Error("an interrupted command succeeded")
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("interrupting took %s", took)
	}
}

func testFailures(t *testing.T, s *sshtest.Server) {
	run := func(change func(*Config)) *ConnError {
		c := configOf(s)
		c.Timeout = 2 * time.Second
		change(&c)
		h := NewSSH(c)
		defer h.Close()
		var e *ConnError
		if err := h.Run(t.Context(), Command{Line: "true"}); !errors.As(err, &e) {
			t.Fatalf("got %v, want a ConnError", err)
		}
		return e
	}
	other := filepath.Join(t.TempDir(), "other")
	sshtest.WriteKey(t, other)
	l, err := net.Listen("tcp", "127.0.0.1:0") // listens, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bad := filepath.Join(t.TempDir(), "bad-known")
	public := sshtest.WriteKey(t, filepath.Join(t.TempDir(), "k"))
	host, port, _ := net.SplitHostPort(s.Address)
	if err := os.WriteFile(bad, fmt.Appendf(nil, "[%s]:%s %s", host, port, public), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		AuthBad:   func(c *Config) { c.KeyFile = other },
		Refused:   func(c *Config) { c.Address = "127.0.0.1:1" },
		TimedOut:  func(c *Config) { c.Address = l.Addr().String() },
		KeyBad:    func(c *Config) { c.KnownHosts = bad },
		NoHostKey: func(c *Config) { c.KeyFile = "/nonexistent" },
		Unknown:   func(c *Config) { c.Address = "no-such-host.invalid" },
	} {
		if e := run(change); e.Reason != want || e.Hint == "" {
			t.Errorf("want %q, got %v", want, e)
		}
	}
}

func TestProxyCommand(t *testing.T) {
	s := sshtest.Start(t)
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 to relay with")
	}
	c := configOf(s)
	relay := filepath.Join(t.TempDir(), "relay.py")
	code := `import os, select, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
    for f in select.select([0, s], [], [])[0]:
        data = os.read(0, 65536) if f == 0 else s.recv(65536)
        if not data:
            sys.exit()
        s.sendall(data) if f == 0 else os.write(1, data)
`
	if err := os.WriteFile(relay, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	c.ProxyCommand = "python3 " + relay + " %h %p"
	h := NewSSH(c)
	defer h.Close()
	if out, err := Output(t.Context(), h, "echo via"); err != nil || out != "via" {
		t.Errorf("through a proxy command: %q, %v", out, err)
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		dir, out      bool
	}{
		{"*.log", "a/b.log", false, true}, {"*.log", "a/b.txt", false, false}, {"build/", "x/build", true, true},
		{"build/", "x/build", false, false}, {"/top", "top", false, true}, {"/top", "a/top", false, false},
		{"a/b", "x/a/b", false, true}, {"**/node_modules/**", "x/node_modules/y/z", false, true}, {"a?c", "abc", false, true},
		{"# c", "# c", false, false},
	} {
		var r rules
		r.addLine("", c.pattern)
		if got := r.out(c.path, c.dir); got != c.out {
			t.Errorf("%q leaves out %q (directory %v): %v", c.pattern, c.path, c.dir, got)
		}
	}
	var r rules
	r.addLine("", "*.log")
	r.addLine("", "!keep.log")
	if r.out("a/keep.log", false) || !r.out("a/x.log", false) {
		t.Error("a ! pattern does not take back")
	}
}
