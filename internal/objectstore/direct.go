package objectstore

import (
	"errors"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Spill files are written and read past the page cache, where a file system
// allows that: the bytes would take memory there that is short just then, and
// go to the disk at the pace of the kernel's flusher.
const (
	// blockSize is what parts of a file are aligned to, as O_DIRECT demands,
	// and so that the room of each part can be given back.
	blockSize = 4096
	// bufferSize is how much goes to a disk in one write.
	bufferSize = 8 << 20
)

// aligned makes a buffer that begins at a block.
func aligned(n int) []byte {
	b := make([]byte, n+blockSize) // its first byte is there
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (blockSize - 1)
	return b[skip:][:n:n]
}

// openDirect opens a file past the page cache, or as the file system allows.
func openDirect(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_DIRECT, 0o600)
	if errors.Is(err, unix.EINVAL) {
		f, err = os.OpenFile(path, flags, 0o600)
	}
	return f, err
}

// directly does io, and once more through the page cache if this file cannot
// be accessed past it after all.
func directly(f *os.File, io func() (int, error)) (n int, err error) {
	if n, err = io(); !errors.Is(err, unix.EINVAL) {
		return n, err
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags&^unix.O_DIRECT)
	}
	if err != nil {
		return 0, err
	}
	return io()
}

// blocks is p with the rest of its last block, at the beginning of a block:
// what lies in the store as it is, anything else as a copy.
func blocks(p []byte) []byte {
	n := int(roundUp(uint64(len(p)), blockSize))
	if inBlocks(p) {
		return p[:n]
	}
	out := aligned(n)
	copy(out, p)
	return out
}

// inBlocks tells whether p begins at a block and has room up to the end of one.
func inBlocks(p []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(p)))%blockSize == 0 && uint64(cap(p)) >= roundUp(uint64(len(p)), blockSize)
}

func (d *directory) write(name string, parts [][]byte, stored func(int, uint64)) error {
	path := filepath.Join(d.dir, name)
	const flags = os.O_CREATE | os.O_EXCL | os.O_WRONLY
	f, err := openDirect(path, flags)
	if errors.Is(err, os.ErrNotExist) { // somebody has removed the directory
		if err = d.own(); err == nil {
			f, err = openDirect(path, flags)
		}
	}
	if err != nil {
		return diskError(err)
	}
	whole := uint64(0)
	err = d.writeParts(f, parts, func(i int, off, end uint64) {
		whole = end
		stored(i, off)
	})
	if err != nil {
		_ = f.Truncate(int64(whole)) // what failed takes no room
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return diskError(err)
}

// writeParts writes parts from block to block, and tells of each that is whole.
func (d *directory) writeParts(f *os.File, parts [][]byte, stored func(i int, off, end uint64)) error {
	limit := int(roundUp(uint64(d.piece), blockSize))
	if limit == 0 {
		limit = bufferSize
	}
	var vec [][]byte
	n, at, told, begin := 0, uint64(0), 0, uint64(0)
	flush := func(ends int) error {
		if err := writeAll(f, vec, at); err != nil {
			return err
		}
		at += uint64(n)
		for vec, n = vec[:0], 0; told < ends; told++ {
			end := begin + roundUp(uint64(len(parts[told])), blockSize)
			stored(told, begin, end)
			begin = end
		}
		return nil
	}
	for i, p := range parts {
		for q := blocks(p); len(q) > 0; {
			m := min(len(q), limit-n)
			vec, n, q = append(vec, q[:m]), n+m, q[m:]
			if n < limit && len(vec) < maxVec {
				continue
			}
			ends := i
			if len(q) == 0 {
				ends = i + 1
			}
			if err := flush(ends); err != nil {
				return err
			}
		}
	}
	return flush(len(parts))
}

// maxVec is how many pieces of memory one write takes; the kernel's limit is 1024.
const maxVec = 256

// writeAll writes pieces one after the other from off on.
func writeAll(f *os.File, vec [][]byte, off uint64) error {
	for len(vec) > 0 {
		n, err := directly(f, func() (int, error) { return unix.Pwritev(int(f.Fd()), vec, int64(off)) })
		if err != nil && !errors.Is(err, unix.EINTR) {
			return &os.PathError{Op: "write", Path: f.Name(), Err: err}
		}
		off += uint64(max(n, 0))
		for n = max(n, 0); len(vec) > 0 && n >= len(vec[0]); vec = vec[1:] {
			n -= len(vec[0])
		}
		if n > 0 {
			vec = append([][]byte{vec[0][n:]}, vec[1:]...)
		}
	}
	return nil
}

// directFile is a spill file for reading.
type directFile struct{ *os.File }

func (d *directory) open(name string) (volumeFile, error) {
	f, err := openDirect(filepath.Join(d.dir, name), os.O_RDONLY)
	return directFile{f}, err
}

// ReadAt reads at the beginning of a block. It may use what p has room for
// beyond its length up to the end of a block.
func (f directFile) ReadAt(p []byte, off int64) (int, error) {
	size, straight := roundUp(uint64(len(p)), blockSize), inBlocks(p)
	buf := p
	if straight {
		buf = p[:size]
	} else {
		buf = aligned(int(size))
	}
	n, err := directly(f.File, func() (int, error) { return f.File.ReadAt(buf, off) })
	if !straight {
		copy(p, buf[:n])
	}
	if n < len(p) {
		return n, err
	}
	return len(p), nil
}
