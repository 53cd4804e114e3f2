package sshx

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ray/internal/sshx/sshtest"
)

// Run as `ray` on a host, this test program is the part of it that is asked there.
func init() {
	if os.Getenv("SSHX_AS_RAY") == "" {
		return
	}
	args, err := os.Args[1:], error(nil)
	switch at := args[len(args)-1]; args[1] {
	case "sign":
		err = SignParts(os.Stdout, at, os.Stdin)
	case "patch":
		var n int
		n, err = PatchParts(at, os.Stdin)
		fmt.Println(n)
	case "diff":
		err = DiffFile(context.Background(), os.Stdout, at, os.Stdin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// withRay is a host that has the program; sent and got count what goes there and
// comes back.
func withRay(t *testing.T) (h *metering, program string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), ".ray", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(bin, "ray")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nSSHX_AS_RAY=1 exec "+Quote(self)+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := configOf(sshtest.Start(t))
	c.Env = map[string]string{"PATH": bin}
	ssh := NewSSH(c)
	t.Cleanup(func() { _ = ssh.Close() })
	return &metering{meter: meter{Host: ssh}}, program
}

type metering struct {
	meter
	got int
}

func (m *metering) Run(ctx context.Context, c Command) error {
	if c.Stdout != nil {
		c.Stdout = gotten{c.Stdout, &m.got}
	}
	return m.meter.Run(ctx, c)
}

func (m *metering) upload(t *testing.T, local, remote string) (sent int) {
	t.Helper()
	m.bytes.Store(0)
	if err := uploadStream(t.Context(), m, local, remote, Filter{}); err != nil {
		t.Fatal(err)
	}
	return int(m.bytes.Load())
}

type gotten struct {
	io.Writer
	n *int
}

func (g gotten) Write(p []byte) (int, error) {
	*g.n += len(p)
	return g.Writer.Write(p)
}

func put(t *testing.T, path string, data []byte, mode os.FileMode, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, path string, data []byte, mode os.FileMode, at time.Time) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s has %d bytes, want %d of the same: %v", path, len(got), len(data), err)
		return
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode || !info.ModTime().Equal(at) {
		t.Errorf("%s: %v, want %o and %v: %v", path, info, mode, at, err)
	}
}

// Of a large file that has changed, what has changed is sent, in both directions.
func TestLargeFiles(t *testing.T) {
	h, program := withRay(t)
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "a b")
	at := time.Unix(1_700_000_000, 123456789)
	one, two, small := bytesOf(1, 5<<20), bytesOf(2, 3<<20), []byte("small")
	put(t, filepath.Join(from, "one"), one, 0o644, at)
	put(t, filepath.Join(from, "two two"), two, 0o600, at)
	put(t, filepath.Join(from, "small"), small, 0o644, at)
	if sent := h.upload(t, from, to); sent < len(one)+len(two) {
		t.Errorf("at first %d bytes were sent", sent)
	}

	one = slices.Concat(one[:2<<20], []byte("put in"), one[2<<20:])
	at = at.Add(time.Second)
	put(t, filepath.Join(from, "one"), one, 0o755, at)
	put(t, filepath.Join(from, "two two"), two[:2<<20], 0o600, at)
	put(t, filepath.Join(from, "small"), []byte("SMALL"), 0o644, at)
	if sent := h.upload(t, from, to); sent > 3*blockSize {
		t.Errorf("%d bytes were sent for 6 new ones", sent)
	}
	is(t, filepath.Join(to, "one"), one, 0o755, at)
	is(t, filepath.Join(to, "two two"), two[:2<<20], 0o600, at)
	is(t, filepath.Join(to, "small"), []byte("SMALL"), 0o644, at)

	// A file by itself, there and back.
	one[0]++
	put(t, filepath.Join(from, "one"), one, 0o755, at)
	if sent := h.upload(t, filepath.Join(from, "one"), filepath.Join(to, "one")); sent > 2*blockSize {
		t.Errorf("%d bytes were sent for a changed one", sent)
	}
	is(t, filepath.Join(to, "one"), one, 0o755, at)
	one[1]++
	put(t, filepath.Join(to, "one"), one, 0o700, at)
	h.got = 0
	if err := downloadStream(t.Context(), h, filepath.Join(to, "one"), filepath.Join(from, "one"), Filter{}); err != nil || h.got > 2*blockSize {
		t.Errorf("%d bytes came for a changed one: %v", h.got, err)
	}
	is(t, filepath.Join(from, "one"), one, 0o700, at)

	// Upstream's program is not asked.
	if out, err := Output(t.Context(), h, "PATH=/usr/bin:/bin; "+ourRay("sign /")); ExitCode(err) != 127 {
		t.Errorf("another ray said %q, %v", out, err)
	}
	// A host whose program knows nothing of it gets the whole, and gives it.
	if err := os.WriteFile(program, []byte("#!/bin/sh\ncat >/dev/null; echo No such command; exit 2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	one[2]++
	at = at.Add(time.Second)
	put(t, filepath.Join(from, "one"), one, 0o755, at)
	if sent := h.upload(t, from, to); sent < len(one) {
		t.Errorf("%d bytes were sent", sent)
	}
	is(t, filepath.Join(to, "one"), one, 0o755, at)
	one[3]++
	at = at.Truncate(time.Second) // no more comes with an archive of every tar
	put(t, filepath.Join(to, "one"), one, 0o644, at)
	if err := downloadStream(t.Context(), h, filepath.Join(to, "one"), filepath.Join(from, "one"), Filter{}); err != nil {
		t.Fatal(err)
	}
	is(t, filepath.Join(from, "one"), one, 0o644, at)
}

// BenchmarkLargeFile copies 64 MiB into which a kilobyte was put, and says what
// went there and came back; rsync's figures are its own.
func BenchmarkLargeFile(b *testing.B) {
	const size = 64 << 20
	old := bytesOf(1, size)
	changed := slices.Concat(old[:size/2], bytesOf(2, 1<<10), old[size/2:])
	b.Run("parts", func(b *testing.B) {
		var sign, diff bytes.Buffer
		for b.Loop() {
			sign.Reset()
			diff.Reset()
			if err := Sign(&sign, bytes.NewReader(old), size); err != nil {
				b.Fatal(err)
			}
			back := sign.Len()
			if err := Diff(&diff, bytes.NewReader(changed), &sign); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(diff.Len()), "there/op")
			b.ReportMetric(float64(back), "back/op")
			if err := Patch(io.Discard, bytes.NewReader(old), &diff); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("rsync", func(b *testing.B) {
		if _, err := exec.LookPath("rsync"); err != nil {
			b.Skip("there is no rsync")
		}
		dir := b.TempDir()
		from, to := filepath.Join(dir, "new"), filepath.Join(dir, "old")
		if err := os.WriteFile(from, changed, 0o644); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := os.WriteFile(to, old, 0o644); err != nil {
				b.Fatal(err)
			}
			out, err := exec.Command("rsync", "--no-whole-file", "--stats", from, to).CombinedOutput()
			if err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			for name, unit := range map[string]string{"Total bytes sent: ": "there/op", "Total bytes received: ": "back/op"} {
				_, rest, _ := strings.Cut(string(out), name)
				line, _, _ := strings.Cut(rest, "\n")
				n, err := strconv.ParseFloat(strings.ReplaceAll(line, ",", ""), 64)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(n, unit)
			}
		}
	})
}
