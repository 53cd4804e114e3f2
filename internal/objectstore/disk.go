package objectstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// disk is a directory for objects that do not fit into memory.
type disk struct {
	dir string // the store's own: removed at the end
	// threshold is the used fraction of the file system above which nothing is
	// written any more.
	threshold float64
}

// check tells whether n more bytes may be written.
func (d disk) check(n uint64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return nil // writing will tell
	}
	total, free := st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize)
	if total == 0 {
		return nil
	}
	if free < n || float64(total-free+n) > d.threshold*float64(total) {
		return fmt.Errorf("%w: the file system of %s has %d of %d bytes left and at most %.0f %% of it may be used; free some space, or spill elsewhere with --object-spilling-directory",
			ErrDiskFull, d.dir, free, total, d.threshold*100)
	}
	return nil
}

// diskError marks errors that mean a full disk.
func diskError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// lockName is the file that a store holds locked in its spill directory.
const lockName = ".lock"

// own makes the directory and locks it. The caller closes the lock at the end.
func (d disk) own() (*os.File, error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("spill directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(d.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spill directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("spill directory %s is in use by another store: %w", d.dir, err)
	}
	return lock, nil
}

// RemoveStale removes the directories below parent whose names begin with
// prefix and whose stores are gone: a killed daemon cannot do it itself.
func RemoveStale(parent, prefix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return // nothing was spilled there yet
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
		if err != nil {
			continue // being made just now, or not a store's
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = lock.Close()
	}
}
