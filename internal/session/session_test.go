package session_test

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"ray/internal/session"
)

func nodeID(t *testing.T) string {
	t.Helper()
	var b [28]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b[:])
}

func listed(t *testing.T, id string) bool {
	t.Helper()
	all, err := session.List()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(a session.Announcement) bool { return a.NodeID == id })
}

func announce(t *testing.T, p session.Process) session.Announcement {
	t.Helper()
	id := nodeID(t)
	dir, err := session.SocketDir(id)
	if err != nil {
		t.Fatal(err)
	}
	a := session.Announcement{
		NodeID: id, TempDir: t.TempDir(), Socket: filepath.Join(dir, "node.sock"),
		Process: p, StartedMS: time.Now().UnixMilli(),
	}
	if err := session.Publish(a); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Withdraw(a) })
	return a
}

func TestLivingDaemonIsListedUntilWithdrawn(t *testing.T) {
	a := announce(t, session.Self())
	if !listed(t, a.NodeID) {
		t.Fatal("a living daemon is not listed")
	}
	newest, ok := session.Newest(a.TempDir)
	if !ok || newest != a {
		t.Fatalf("newest = %+v, %v; want what was published", newest, ok)
	}
	if err := session.Withdraw(a); err != nil {
		t.Fatal(err)
	}
	if listed(t, a.NodeID) {
		t.Error("still listed after it was withdrawn")
	}
	if _, ok := session.Newest(a.TempDir); ok {
		t.Error("still the newest after it was withdrawn")
	}
	if _, err := os.Stat(filepath.Dir(a.Socket)); !os.IsNotExist(err) {
		t.Errorf("socket directory: %v, want it gone", err)
	}
}

func TestStaleAnnouncementsAreRemoved(t *testing.T) {
	reused := session.Self()
	reused.StartTicks--
	otherBoot := session.Self()
	otherBoot.BootID = "00000000-0000-0000-0000-000000000000"
	for name, p := range map[string]session.Process{
		"pid reused": reused, "other boot": otherBoot, "no pid": {},
	} {
		t.Run(name, func(t *testing.T) {
			a := announce(t, p)
			if listed(t, a.NodeID) {
				t.Error("a stale announcement is listed")
			}
			if _, err := os.Stat(filepath.Dir(a.Socket)); !os.IsNotExist(err) {
				t.Errorf("socket directory: %v, want it gone", err)
			}
		})
	}
}

func TestProcessIdentity(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := session.Identify(cmd.Process.Pid)
	if err != nil || !p.Alive() {
		t.Fatalf("running child: %+v, %v", p, err)
	}
	if err := p.Signal(syscall.Signal(0)); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	// Not waited for yet: it is running or a zombie, and a zombie is gone.
	deadline := time.Now().Add(10 * time.Second)
	for p.Alive() {
		if time.Now().After(deadline) {
			t.Fatal("the child never ended")
		}
	}
	_ = cmd.Wait()
	if p.Alive() {
		t.Error("an ended child counts as alive")
	}
}

func TestNewDir(t *testing.T) {
	root := t.TempDir()
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_000, time.UTC)
	d, err := session.NewDir(root, at, 42)
	if err != nil {
		t.Fatal(err)
	}
	if want := "session_2026-03-04_05-06-07_000089_42"; d.Name != want {
		t.Errorf("name = %s, want %s", d.Name, want)
	}
	link, err := os.Readlink(filepath.Join(root, "session_latest"))
	if err != nil || link != d.Name {
		t.Errorf("session_latest → %q, %v", link, err)
	}
	if info, err := os.Stat(d.Logs()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("logs: %v, %v", info, err)
	}
	if _, err := session.NewDir(root, at.Add(time.Second), 42); err != nil {
		t.Errorf("a second session: %v", err)
	}
	if _, err := session.NewDir("relative", at, 1); err == nil {
		t.Error("a relative root was accepted")
	}
}

func TestTheNextLivingDaemonBecomesTheNewest(t *testing.T) {
	first := announce(t, session.Self())
	second := first
	second.NodeID, second.Socket, second.StartedMS = nodeID(t), "", first.StartedMS+1
	if err := session.Publish(second); err != nil {
		t.Fatal(err)
	}
	if err := session.Withdraw(second); err != nil {
		t.Fatal(err)
	}
	if newest, ok := session.Newest(first.TempDir); !ok || newest != first {
		t.Errorf("newest = %+v, %v; want the one that still lives", newest, ok)
	}
}
