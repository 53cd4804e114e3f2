package sshx

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"ray/internal/sshx/sshtest"
)

// meter counts what commands on a host get to read, and how many there are.
type meter struct {
	Host
	bytes, runs atomic.Int64
}

type metered struct {
	io.Reader
	n *atomic.Int64
}

func (r metered) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n.Add(int64(n))
	return n, err
}

func (m *meter) Run(ctx context.Context, c Command) error {
	m.runs.Add(1)
	if c.Stdin != nil {
		c.Stdin = metered{c.Stdin, &m.bytes}
	}
	return m.Host.Run(ctx, c)
}

func (m *meter) Upload(ctx context.Context, local, remote string, filter Filter) error {
	m.bytes.Store(0)
	m.runs.Store(0)
	return uploadStream(ctx, m, local, remote, filter)
}

// Many small files cost three commands, and a second copy only what changed.
func TestManyFiles(t *testing.T) {
	h := connect(t, sshtest.Start(t))
	m := &meter{Host: h}
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "there")
	const files = 500
	for i := range files {
		dir := filepath.Join(from, fmt.Sprint(i%10))
		if i < 10 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f %d", i)), []byte(fmt.Sprintf("text %d", i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Upload(t.Context(), from, to, Filter{}); err != nil {
		t.Fatal(err)
	}
	if n, _ := filepath.Glob(filepath.Join(to, "*", "f *")); len(n) != files || m.runs.Load() > 3 {
		t.Errorf("%d files arrived, by %d commands", len(n), m.runs.Load())
	}
	all := m.bytes.Load()
	// The same size, another text and time; another mode.
	changed, mode := filepath.Join(from, "7", "f 7"), filepath.Join(from, "8", "f 8")
	if err := os.WriteFile(changed, []byte("TEXT 7"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(changed, time.Time{}, time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(mode, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.Upload(t.Context(), from, to, Filter{}); err != nil {
		t.Fatal(err)
	}
	if again := m.bytes.Load(); again > all/20 {
		t.Errorf("the second copy took %d bytes, the first %d", again, all)
	}
	if data, err := os.ReadFile(filepath.Join(to, "7", "f 7")); err != nil || string(data) != "TEXT 7" {
		t.Errorf("%q %v", data, err)
	}
	if info, err := os.Stat(filepath.Join(to, "8", "f 8")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", info, err)
	}
}

// A host without find gets everything.
func TestStampsNotTold(t *testing.T) {
	h := &CommandHost{Name: "bare", RunFunc: func(_ context.Context, c Command) error {
		_, _ = io.WriteString(c.Stdout, "find: unrecognized: -printf\n")
		return &ExitError{Code: 1}
	}}
	if got := stampsThere(t.Context(), h, "/x"); len(got) > 0 {
		t.Error(got)
	}
	h.RunFunc = func(_ context.Context, c Command) error {
		_, err := io.WriteString(c.Stdout, "644 3 17.1234567890 a b\x00nonsense\x00644 3 17 old\x00")
		return err
	}
	if got := stampsThere(t.Context(), h, "/x"); len(got) != 1 || got["a b"] != "644 3 17.123456789" {
		t.Error(got)
	}
}
