package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHeadThatNeverServesIsGivenUp: the daemon ends soon, and says why.
func TestHeadThatNeverServesIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	sock, err := os.MkdirTemp("", "n") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sock) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = Run(ctx, Config{
		Head: true, HeadAddress: "127.0.0.1:1", NodeIP: "127.0.0.1", AuthDisabled: true, SessionDir: dir, TmpDir: dir, PackageDir: dir,
		Socket: filepath.Join(sock, "s", "node.sock"), ObjectStoreBytes: 80 << 20, Log: slog.New(slog.DiscardHandler),
		HeadCommand: []string{"/bin/sh", "-c", "echo the disk is made of cheese >&2; exit 3"},
	})
	if err == nil || !strings.Contains(err.Error(), "made of cheese") || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("the end of the head is not told: %v", err)
	}
}

// TestAHeadThatIsStartedAsTheDaemonEndsEndsToo: the daemon has looked for its
// head before that was there.
func TestAHeadThatIsStartedAsTheDaemonEndsEndsToo(t *testing.T) {
	d := newDaemon(t.Context(), Config{Head: true, SessionDir: t.TempDir(), Log: slog.New(slog.DiscardHandler), HeadCommand: []string{"/bin/sleep", "600"}})
	d.head = &headLink{d: d, ready: make(chan struct{})}
	if err := os.Mkdir(filepath.Join(d.cfg.SessionDir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.startHead(); err != nil {
		t.Fatal(err)
	}
	now := func() *headProcess {
		d.headMu.Lock()
		defer d.headMu.Unlock()
		return d.headProc
	}
	d.mu.Lock() // the next head needs it for its configuration
	_ = now().proc.Signal(syscall.SIGKILL)
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "keepIdentity"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the head is not started again")
		}
	}
	d.stop(errShutdown)
	d.stopHead()
	d.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		d.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = now().proc.Signal(syscall.SIGKILL)
		t.Error("the daemon waits for a head that nobody has told to end")
	}
}
