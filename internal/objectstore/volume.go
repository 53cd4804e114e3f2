package objectstore

import (
	"context"
	"io"
	"time"
)

// volume is a place for the bytes of objects that do not fit into memory. It
// holds files, each with the bytes of one or more objects, and nothing else:
// where an object lies and its checksums are the store's to remember, because
// no file outlives it.
type volume interface {
	// room tells whether n more bytes may be written.
	room(n uint64) error
	// write makes a file of parts. stored is told where each of them begins as
	// soon as it can be read; after an error those that it was told of remain.
	write(name string, parts [][]byte, stored func(i int, off uint64)) error
	// open reads a file.
	open(name string) (volumeFile, error)
	// discard gives the room of n bytes in a file back, if that is possible.
	discard(name string, off, n uint64)
	// remove removes a file; that it is not there is no error.
	remove(name string) error
}

type volumeFile interface {
	io.ReaderAt
	io.Closer
}

// Remote is a store of files that is not a disk of this machine, such as a
// bucket. Its methods are called from several goroutines.
type Remote interface {
	// Put makes a file of size bytes.
	Put(ctx context.Context, name string, body io.ReaderAt, size int64) error
	// Get fills dst with the bytes at off.
	Get(ctx context.Context, name string, off int64, dst []byte) error
	// Delete removes files; those that are not there are no error.
	Delete(ctx context.Context, names ...string) error
}

// remoteEnd bounds how long the end of a store waits for a Remote to remove files.
const remoteEnd = 10 * time.Second

// remoteVolume is a Remote as a volume. ctx ends with the store.
type remoteVolume struct {
	ctx context.Context
	Remote
}

func (v *remoteVolume) room(uint64) error { return nil } // its writes tell

func (v *remoteVolume) write(name string, parts [][]byte, stored func(int, uint64)) error {
	body := joined(parts)
	if err := v.Put(v.ctx, name, body, body.size()); err != nil {
		return err
	}
	off := uint64(0)
	for i, p := range parts {
		stored(i, off)
		off += uint64(len(p))
	}
	return nil
}

func (v *remoteVolume) open(name string) (volumeFile, error) { return remoteFile{v, name}, nil }

func (v *remoteVolume) discard(string, uint64, uint64) {} // files there cannot shrink

func (v *remoteVolume) remove(name string) error { return v.Delete(v.ctx, name) }

// close removes what is left.
func (v *remoteVolume) close(files []string) error {
	if len(files) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), remoteEnd)
	defer cancel()
	return v.Delete(ctx, files...)
}

type remoteFile struct {
	volume *remoteVolume
	name   string
}

func (f remoteFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.volume.Get(f.volume.ctx, f.name, off, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f remoteFile) Close() error { return nil }

// joined reads several pieces of memory as one file.
type joined [][]byte

func (j joined) size() (n int64) {
	for _, p := range j {
		n += int64(len(p))
	}
	return n
}

func (j joined) ReadAt(p []byte, off int64) (n int, err error) {
	for _, part := range j {
		if off >= int64(len(part)) {
			off -= int64(len(part))
			continue
		}
		n += copy(p[n:], part[off:])
		if off = 0; n == len(p) {
			return n, nil
		}
	}
	return n, io.EOF
}
