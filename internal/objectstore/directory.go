package objectstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	mu    sync.Mutex // taken while the directory is made
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

// DisksFull says why none of the directories for spilled objects can take more;
// nil: one can, or they go elsewhere. It asks their file systems, which may take a while.
func (s *Store) DisksFull() (err error) {
	s.mu.Lock()
	own := slices.Clone(s.own)
	if len(s.remotes) > 0 {
		own = nil // objects go there
	}
	s.mu.Unlock()
	for _, d := range own {
		if err = d.room(0); err == nil {
			return nil
		}
	}
	return err
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
	return errors.Join(os.RemoveAll(d.dir), d.lock.Close())
}

// Whose directory is in use is told by a lock on the directory itself: users
// look into it, and into the one that it is in, for spilled objects, and find
// nothing else. A mode that no other program gives its directories marks those
// that are locked while they are in use.
const (
	ownMode   = 0o700 | os.ModeSticky
	lockTries = 20
	lockPause = 10 * time.Millisecond
)

// own makes the directory and locks it, again if somebody has removed it.
func (d *directory) own() (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock != nil && d.holds(d.lock) {
		return nil
	}
	for range lockTries {
		if err := os.MkdirAll(d.dir, 0o700); err != nil {
			return fmt.Errorf("spill directory: %w", err)
		}
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
	return nil
}

// tryLock locks the directory and marks it. A file system that has no locks
// for directories leaves it unmarked: then nobody but its store removes it.
func (d *directory) tryLock() (held bool, err error) {
	lock, err := os.Open(d.dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // it was removed as a stale one just then
	}
	if err != nil {
		return false, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return false, errors.Join(err, lock.Close())
	} else if err == nil {
		_ = lock.Chmod(ownMode)
	}
	if !d.holds(lock) {
		return false, lock.Close()
	}
	if d.lock != nil {
		_ = d.lock.Close()
	}
	d.lock = lock
	return true, nil
}

// holds tells whether lock is the directory that is there now.
func (d *directory) holds(lock *os.File) bool {
	mine, err := lock.Stat()
	there, err2 := os.Stat(d.dir)
	return err == nil && err2 == nil && os.SameFile(mine, there)
}

// RemoveStale removes the directories below parent whose names begin with
// prefix and whose stores are gone: a killed daemon cannot do it itself. It
// gives what follows prefix in their names.
func RemoveStale(parent, prefix string) (gone []string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil // nothing was spilled there yet
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		lock, err := os.Open(path)
		if err != nil {
			continue
		}
		info, err := lock.Stat()
		if err == nil && info.Mode()&os.ModeSticky != 0 && unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(path)
			gone = append(gone, strings.TrimPrefix(e.Name(), prefix))
		}
		_ = lock.Close()
	}
	return gone
}
