package objectstore

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// overflowSpan is how far the overflow file may reach; it is sparse.
const overflowSpan = 1 << 42

// overflow is the part of the store that lies on disk but is mapped like the
// rest: room for objects that are larger than the arena, and for any object
// while every byte of the arena is in use. Clients see it as what follows the
// arena file, and map the pieces that they need. The store's lock guards it.
type overflow struct {
	file  *os.File
	room  func(n uint64) error
	base  uint64 // where it begins for clients: the size of the arena file
	page  uint64
	alloc *allocator
	at    map[uint64]*region
}

// region is one object's part of the overflow file.
type region struct {
	off, size uint64
	mem       []byte
}

// openOverflow makes the file, without a name, in dir.
func openOverflow(dir string, room func(n uint64) error, base uint64) (*overflow, error) {
	file, err := os.CreateTemp(dir, "overflow-*")
	if err != nil {
		return nil, fmt.Errorf("object store: no file-backed memory: %w", err)
	}
	_ = os.Remove(file.Name())
	return &overflow{file: file, room: room, base: base, page: uint64(os.Getpagesize()),
		alloc: newAllocator(overflowSpan), at: map[uint64]*region{}}, nil
}

// create finds room for size bytes and makes sure that the disk has them: a
// store into a mapped page that the disk cannot hold would kill its writer.
func (o *overflow) create(size uint64) (*region, error) {
	if o == nil {
		return nil, ErrFull
	}
	if err := o.room(size); err != nil {
		return nil, err
	}
	n := roundUp(max(size, 1), o.page)
	off, _, ok := o.alloc.alloc(0, n)
	if !ok {
		return nil, ErrFull
	}
	r := &region{off: off, size: n}
	err := unix.Fallocate(int(o.file.Fd()), 0, int64(off), int64(n))
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
		if info, statErr := o.file.Stat(); statErr == nil && uint64(info.Size()) < off+n {
			err = o.file.Truncate(int64(off + n))
		}
	}
	if err == nil {
		r.mem, err = unix.Mmap(int(o.file.Fd()), int64(off), int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		o.giveBack(r)
		return nil, diskError(fmt.Errorf("file-backed object of %d bytes: %w", size, err))
	}
	o.at[off] = r
	return r, nil
}

// free gives a region back to the disk. Mappings that clients keep stay valid.
func (o *overflow) free(r *region) {
	delete(o.at, r.off)
	_ = unix.Munmap(r.mem)
	o.giveBack(r)
}

func (o *overflow) giveBack(r *region) {
	// Where holes cannot be made the space is used again by the next object.
	_ = unix.Fallocate(int(o.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(r.off), int64(r.size))
	o.alloc.release(r.off, r.size, 0)
}

func (o *overflow) close() error {
	for _, r := range o.at {
		_ = unix.Munmap(r.mem)
	}
	return o.file.Close()
}

// fileOffset is where a client finds e.
func (s *Store) fileOffset(e *entry) uint64 {
	if e.over != nil {
		return s.over.base + e.over.off
	}
	return headerSize + e.off
}

// data is the memory of e; what it has room for ends with a block.
func (s *Store) data(e *entry) []byte {
	if e.over != nil {
		return e.over.mem[:e.size]
	}
	return s.arena.bytes(e.off, roundUp(e.size, align))[:e.size]
}

// Bytes is the memory at a file offset that Create gave, for the daemon's own writing.
func (s *Store) Bytes(offset, size uint64) []byte {
	if offset < s.FileSize() {
		return s.arena.bytes(offset-headerSize, size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over.at[offset-s.over.base].mem[:size:size]
}

// Overflow is the file that follows the arena's, for clients to map piece by
// piece; nil if there is none.
func (s *Store) Overflow() *os.File {
	if s.over == nil {
		return nil
	}
	return s.over.file
}

// fromOverflow serves a request that the arena has no room for, and takes it
// off the waiting list. A request that is not in it any more has its answer:
// its entry is nil.
func (s *Store) fromOverflow(r *request) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, r)
	if i < 0 {
		return nil, nil
	}
	reg, err := s.over.create(r.size)
	if err != nil {
		return nil, err
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	if r.restore != nil {
		r.restore.over = reg
		return r.restore, nil
	}
	return s.table.createAt(r.client, r.id, r.size, reg), nil
}
