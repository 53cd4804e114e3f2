package session_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ray/internal/session"
)

func TestLocksOfASession(t *testing.T) {
	dir := t.TempDir()
	if p, ok := session.DaemonOf(dir); ok {
		t.Fatalf("a session that nobody serves has a daemon: %+v", p)
	}
	lock, err := session.LockDaemon(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := session.DaemonOf(dir); !ok || p.PID != os.Getpid() {
		t.Errorf("holder %+v %v", p, ok)
	}
	if _, err := session.LockDaemon(dir); !errors.Is(err, session.ErrLocked) {
		t.Errorf("a second daemon: %v", err)
	}
	head, err := session.LockHead(dir)
	if err != nil {
		t.Fatal("head and daemon are in each other's way:", err)
	}
	defer head.Release()
	gone := make(chan error, 1)
	go func() { gone <- session.AwaitDaemonEnd(dir) }()
	select {
	case err := <-gone:
		t.Errorf("the daemon has not ended: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	lock.Release()
	select {
	case err := <-gone:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the end of the daemon is not noticed")
	}
	if lock, err = session.LockDaemon(dir); err != nil {
		t.Errorf("after its end: %v", err)
	}
	lock.Release()
}

// Whoever looks who holds a lock holds it for an instant himself, and on a
// busy machine for longer.
func TestALookDoesNotKeepALockFromItsHolder(t *testing.T) {
	dir := t.TempDir()
	lock, err := session.LockDaemon(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
	look, err := os.Open(filepath.Join(dir, "daemon.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(look.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	over := time.AfterFunc(300*time.Millisecond, func() { _ = look.Close() })
	defer over.Stop()
	if lock, err = session.LockDaemon(dir); err != nil {
		t.Fatal(err)
	}
	lock.Release()
}
