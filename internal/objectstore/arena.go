package objectstore

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The arena file: slots first, then data.
const (
	slotSize  = 64
	slotCount = 16384
	// headerSize is where the data begins.
	headerSize = slotSize * slotCount
	pageSize   = 4096
)

// arena is the mapped file.
type arena struct {
	file *os.File
	mem  []byte
}

// openArena makes the file for data bytes: on the disk of dir if one is given,
// else a memfd. Nothing is left behind when the process ends.
func openArena(data uint64, dir string) (*arena, error) {
	size := headerSize + roundUp(data, pageSize)
	file, err := arenaFile(int64(size), dir)
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(int64(size)); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("object store of %d bytes: %w", data, err)
	}
	mem, err := unix.Mmap(int(file.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("object store of %d bytes: map: %w", data, err)
	}
	return &arena{file: file, mem: mem}, nil
}

// arenaFile is a memfd, or an unlinked file in dir: there, or in the usual place
// on a system that has no memfd. A directory that is memory itself changes nothing.
func arenaFile(size int64, dir string) (*os.File, error) {
	var fs unix.Statfs_t
	if dir != "" {
		if err := unix.Statfs(dir, &fs); err != nil {
			return nil, fmt.Errorf("object store in %s: %w", dir, err)
		}
	}
	if dir == "" || fs.Type == unix.TMPFS_MAGIC {
		if file, err := memfile(); err == nil {
			return file, nil
		}
	}
	if dir != "" && uint64(size) > fs.Bavail*uint64(fs.Bsize) {
		return nil, tooLarge(size, dir, unix.ENOSPC)
	}
	file, err := os.CreateTemp(dir, "ray-arena-*")
	if err != nil {
		return nil, fmt.Errorf("object store: no shared memory: %w", err)
	}
	_ = os.Remove(file.Name())
	if dir == "" {
		return file, nil
	}
	// A disk that is full later would kill whoever writes to the mapped file.
	if err := unix.Fallocate(int(file.Fd()), 0, 0, size); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		_ = file.Close()
		return nil, tooLarge(size, dir, err)
	}
	return file, nil
}

func tooLarge(size int64, dir string, err error) error {
	return fmt.Errorf("object store of %d bytes in %s: %w: give it less by --object-store-memory, or another directory", size-headerSize, dir, err)
}

func memfile() (*os.File, error) {
	fd, err := unix.MemfdCreate("ray-arena", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "ray-arena"), nil
}

func (a *arena) bytes(off, size uint64) []byte {
	return a.mem[headerSize+off : headerSize+off+size : headerSize+off+size]
}

// The words of a slot.
const (
	slotRunning = iota // the task that runs
	slotBegun          // the last task that was about to begin
	slotHold           // epoch and number: no task of an older epoch begins, nor a later one of that epoch
	slotTaken          // the last spare that the client took
	slotEnded          // the last spare that was taken back
	slotWords
)

func (a *arena) word(i, word int) *uint64 {
	return (*uint64)(unsafe.Pointer(&a.mem[i*slotSize+8*word]))
}

// slot reads a word that a worker keeps in its slot. Workers use the byte
// order of the machine, as this process does.
func (a *arena) slot(i, word int) uint64 { return atomic.LoadUint64(a.word(i, word)) }

func (a *arena) clearSlot(i int) {
	for word := range slotWords {
		atomic.StoreUint64(a.word(i, word), 0)
	}
}

// hold keeps a worker from beginning tasks of an epoch beyond those that it
// has begun. The worker stores what it is about to begin, or that it does not
// begin it after all, and then reads this mark; here the mark is stored and
// then what the worker stored is read again. So either the worker sees the
// last mark, or we see what it stored last. Not ok: it goes on and on.
func (a *arena) hold(i int, epoch uint32) (begun uint32, ok bool) {
	begun = uint32(a.slot(i, slotBegun))
	for range 1000 {
		atomic.StoreUint64(a.word(i, slotHold), uint64(epoch)<<32|uint64(begun))
		again := uint32(a.slot(i, slotBegun))
		if again == begun {
			return begun, true
		}
		begun = again
	}
	atomic.StoreUint64(a.word(i, slotHold), uint64(epoch-1)<<32)
	return 0, false
}

// endSpares takes the spares up to number last of a client back, except those
// that it had taken before: see spares.go.
func (a *arena) endSpares(i int, last uint32) (taken uint32) {
	atomic.StoreUint64(a.word(i, slotEnded), uint64(last))
	return uint32(a.slot(i, slotTaken))
}

// punch gives the pages of an extent back to the system.
func (a *arena) punch(e extent) error {
	return unix.Fallocate(int(a.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE,
		int64(headerSize+e.off), int64(e.size))
}

// populate makes the pages of an extent exist.
func (a *arena) populate(off, size uint64) error {
	return unix.Fallocate(int(a.file.Fd()), 0, int64(headerSize+off), int64(size))
}

func (a *arena) close() error {
	err := unix.Munmap(a.mem)
	if closeErr := a.file.Close(); err == nil {
		err = closeErr
	}
	return err
}
