package objectstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// directory is a volume on a disk of this machine. The directory is the
// store's own and locked while the store lives.
type directory struct {
	dir string
	// threshold is the used fraction of the file system above which nothing is
	// written any more.
	threshold float64
	// piece is how many bytes go into one write; 0 means bufferSize.
	piece int
	lock  *os.File
}

// openDirectory makes the directory and locks it.
func openDirectory(dir string, threshold float64, piece int) (*directory, error) {
	d := &directory{dir: dir, threshold: threshold, piece: piece}
	return d, d.own()
}

func (d *directory) room(n uint64) error {
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

func (d *directory) discard(name string, off, n uint64) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_WRONLY, 0)
	if err != nil {
		return
	}
	// Where holes cannot be made the room comes back with the whole file.
	_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(off), int64(roundUp(n, blockSize)))
	_ = f.Close()
}

func (d *directory) remove(name string) error {
	if err := os.Remove(filepath.Join(d.dir, name)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (d *directory) close() error {
	err := os.RemoveAll(d.dir)
	if rmErr := os.Remove(lockOf(d.dir)); !errors.Is(rmErr, os.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return errors.Join(err, d.lock.Close())
}

// lockOf is the file beside a directory that its store holds locked. It is
// not inside, because users look there for spilled objects.
func lockOf(dir string) string {
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+lockSuffix)
}

const (
	lockSuffix = ".lock"
	lockTries  = 20
	lockPause  = 10 * time.Millisecond
)

// own makes the directory and its lock.
func (d *directory) own() (err error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("spill directory: %w", err)
	}
	for range lockTries {
		var held bool
		if held, err = d.tryLock(); held || err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		time.Sleep(lockPause) // RemoveStale of another node looks at it
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("spill directory %s is in use by another store", d.dir)
	}
	if err != nil {
		return fmt.Errorf("spill directory: %w", err)
	}
	return os.MkdirAll(d.dir, 0o700) // that look may have removed it
}

func (d *directory) tryLock() (held bool, err error) {
	lock, err := os.OpenFile(lockOf(d.dir), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, errors.Join(err, lock.Close())
	}
	mine, err := lock.Stat()
	there, err2 := os.Stat(lockOf(d.dir))
	if err != nil || err2 != nil || !os.SameFile(mine, there) {
		return false, lock.Close() // it was removed as a stale one just then
	}
	d.lock = lock
	return true, nil
}

// RemoveStale removes the directories below parent whose names begin with
// prefix and whose stores are gone: a killed daemon cannot do it itself.
func RemoveStale(parent, prefix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return // nothing was spilled there yet
	}
	for _, e := range entries {
		name, isLock := strings.CutSuffix(strings.TrimPrefix(e.Name(), "."), lockSuffix)
		if !isLock || !strings.HasPrefix(e.Name(), ".") || !strings.HasPrefix(name, prefix) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		lock, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Join(parent, name))
			_ = os.Remove(path)
		}
		_ = lock.Close()
	}
}
