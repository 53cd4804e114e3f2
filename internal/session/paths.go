package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// baseDir is where Root lies. It is fixed rather than os.TempDir: every process
// of a user must agree on it, whatever TMPDIR each was given, and socket paths
// under it must stay within the kernel's limit of 108 bytes.
const baseDir = "/tmp"

// Root is this user's private directory, /tmp/ray-<uid>.
func Root() string { return filepath.Join(baseDir, "ray-"+strconv.Itoa(os.Getuid())) }

// TempDir is where sessions are kept: RAY_TMPDIR, else Root.
func TempDir() string {
	if dir := os.Getenv("RAY_TMPDIR"); dir != "" {
		if abs, err := filepath.Abs(dir); err == nil {
			return abs
		}
		return dir
	}
	return Root()
}

// announceDir holds one file for each daemon of this user.
func announceDir() string { return filepath.Join(Root(), "sessions") }

// EnsureRoot makes Root and the directory of announcements, or explains why an
// existing one cannot be trusted.
func EnsureRoot() error {
	if err := ensurePrivate(Root()); err != nil {
		return err
	}
	return ensurePrivate(announceDir())
}

// ensurePrivate makes dir with mode 0700. Others may create names in /tmp, so
// a directory that is already there counts only if it is ours and closed.
func ensurePrivate(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return nil
	}
	if !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the private directory %s: %w", dir, err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at the private directory %s: %w", dir, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory; remove it and try again", dir)
	case ok && int(stat.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to user %d, not to you (%d): refusing to use it; ask its owner or an administrator to remove it", dir, stat.Uid, os.Getuid())
	case info.Mode().Perm()&0o077 != 0:
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("close %s to other users: %w", dir, err)
		}
	}
	return nil
}

// SocketDir makes and returns the directory of a daemon's sockets: Root and
// the first 8 hex digits of its node id, mode 0700.
func SocketDir(nodeID string) (string, error) {
	if len(nodeID) < 16 {
		return "", fmt.Errorf("node id %q is too short", nodeID)
	}
	if err := EnsureRoot(); err != nil {
		return "", err
	}
	dir := filepath.Join(Root(), nodeID[:8])
	return dir, ensurePrivate(dir)
}

// isSocketDir tells whether dir is one that SocketDir could have made: a guard
// for whoever is about to remove it.
func isSocketDir(dir string) bool {
	name := filepath.Base(dir)
	if filepath.Dir(dir) != Root() || len(name) != 8 {
		return false
	}
	return strings.Trim(name, "0123456789abcdef") == ""
}
