package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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
