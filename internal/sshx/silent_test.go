package sshx

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"ray/internal/sshx/sshtest"
)

// frozen passes connections on until it is told to keep those that there are
// open and silent; later ones are passed on again.
type frozen struct {
	net.Listener
	age atomic.Int64
}

func freezer(t *testing.T, to string) *frozen {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &frozen{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			age := f.age.Load()
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() { _, _ = io.Copy(way[0], thawed{way[1], f, age}); _ = way[0].Close() }()
			}
		}
	}()
	return f
}

type thawed struct {
	io.Reader
	f   *frozen
	age int64
}

// Read drops what comes once the connection is frozen.
func (r thawed) Read(p []byte) (int, error) {
	for {
		n, err := r.Reader.Read(p)
		if err != nil || r.f.age.Load() == r.age {
			return n, err
		}
	}
}

// A host that says nothing more holds nobody up: a command ends with its time,
// and the next one gets another connection.
func TestSilentHost(t *testing.T) {
	server := sshtest.Start(t)
	c := configOf(server)
	f := freezer(t, c.Address)
	c.Address = f.Addr().String()
	h := NewSSH(c)
	defer h.Close()
	if _, err := Output(t.Context(), h, "true"); err != nil {
		t.Fatal(err)
	}
	f.age.Add(1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Output(ctx, h, "true"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no channel was opened: %v", err)
	}
	// It waits for a channel on the silent connection until that is given up.
	if out, err := Output(t.Context(), h, "echo again"); err != nil || out != "again" {
		t.Errorf("%q, %v", out, err)
	}
}
