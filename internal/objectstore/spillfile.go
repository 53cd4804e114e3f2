package objectstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"ray/internal/spec"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A spill file is a header (magic, length), one checksum for each chunk of
// the object, and the object's bytes. Chunks are checked one by one, so that
// a part can be read without the rest.
const (
	spillMagic  = "RAYSPL02"
	spillHeader = 8 + 8
	spillChunk  = 8 << 20
)

func chunks(size uint64) int { return int((size + spillChunk - 1) / spillChunk) }

// dataStart is where the object's bytes begin.
func dataStart(size uint64) uint64 { return spillHeader + 4*uint64(chunks(size)) }

func chunkOf(data []byte, i int) []byte {
	return data[i*spillChunk : min((i+1)*spillChunk, len(data))]
}

// writeSpill writes an object to a file of its own and gives its path.
func writeSpill(d disk, id spec.ObjectID, data []byte) (string, error) {
	if err := d.check(uint64(len(data))); err != nil {
		return "", fmt.Errorf("spill %s: %w", id, err)
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return "", fmt.Errorf("spill: %w", err)
	}
	path := filepath.Join(d.dir, id.String())
	head := make([]byte, spillHeader, dataStart(uint64(len(data))))
	copy(head, spillMagic)
	binary.LittleEndian.PutUint64(head[8:], uint64(len(data)))
	for i := range chunks(uint64(len(data))) {
		head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(chunkOf(data, i), castagnoli))
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(head)
		if err == nil {
			_, err = f.Write(data)
		}
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		_ = os.Remove(path)
		return "", diskError(fmt.Errorf("spill %s: %w", id, err))
	}
	return path, nil
}

// spillReader reads one spill file.
type spillReader struct {
	f    *os.File
	id   spec.ObjectID
	size uint64
	sums []byte
}

// openSpill opens the spill file of an object of size bytes.
func openSpill(path string, id spec.ObjectID, size uint64) (*spillReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("restore %s: %w: %w", id, ErrDamaged, err)
	}
	head := make([]byte, dataStart(size))
	_, err = io.ReadFull(f, head)
	info, statErr := f.Stat()
	switch {
	case err != nil || string(head[:8]) != spillMagic:
		err = fmt.Errorf("restore %s: %w: bad header in %s", id, ErrDamaged, path)
	case statErr != nil || binary.LittleEndian.Uint64(head[8:]) != size || uint64(info.Size()) != size+dataStart(size):
		err = fmt.Errorf("restore %s: %w: %s is cut off", id, ErrDamaged, path)
	default:
		return &spillReader{f: f, id: id, size: size, sums: head[spillHeader:]}, nil
	}
	return nil, errors.Join(err, f.Close())
}

func (r *spillReader) close() { _ = r.f.Close() } // only read

// chunk reads and checks chunk i into dst, which has its length.
func (r *spillReader) chunk(i int, dst []byte) error {
	if _, err := r.f.ReadAt(dst, int64(dataStart(r.size))+int64(i)*spillChunk); err != nil {
		return fmt.Errorf("restore %s: %w: %w", r.id, ErrDamaged, err)
	}
	if crc32.Checksum(dst, castagnoli) != binary.LittleEndian.Uint32(r.sums[4*i:]) {
		return fmt.Errorf("restore %s: %w: wrong checksum in %s", r.id, ErrDamaged, r.f.Name())
	}
	return nil
}

// readSpill fills dst with the whole object.
func readSpill(path string, id spec.ObjectID, dst []byte) error {
	r, err := openSpill(path, id, uint64(len(dst)))
	if err != nil {
		return err
	}
	defer r.close()
	for i := range chunks(uint64(len(dst))) {
		if err := r.chunk(i, chunkOf(dst, i)); err != nil {
			return err
		}
	}
	return nil
}

// readSpillRange reads n bytes at off of an object of size bytes.
func readSpillRange(path string, id spec.ObjectID, size, off, n uint64) ([]byte, error) {
	r, err := openSpill(path, id, size)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if n == 0 {
		return nil, nil
	}
	first, last := off/spillChunk, (off+n-1)/spillChunk
	buf := make([]byte, min((last+1)*spillChunk, size)-first*spillChunk)
	for i := first; i <= last; i++ {
		part := chunkOf(buf, int(i-first))
		if err := r.chunk(int(i), part); err != nil {
			return nil, err
		}
	}
	return buf[off-first*spillChunk:][:n], nil
}
