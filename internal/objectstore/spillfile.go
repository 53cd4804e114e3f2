package objectstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"ray/internal/spec"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// spillHeader precedes the bytes in a spill file: magic, length, checksum.
const (
	spillMagic  = "RAYSPL01"
	spillHeader = 8 + 8 + 4
)

func writeSpill(dir string, id spec.ObjectID, data []byte) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("spill: %w", err)
	}
	path := filepath.Join(dir, id.String())
	var head [spillHeader]byte
	copy(head[:], spillMagic)
	binary.LittleEndian.PutUint64(head[8:], uint64(len(data)))
	binary.LittleEndian.PutUint32(head[16:], crc32.Checksum(data, castagnoli))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(head[:])
		if err == nil {
			_, err = f.Write(data)
		}
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		_ = os.Remove(path)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("%w: %w", ErrDiskFull, err)
		}
		return "", fmt.Errorf("spill %s: %w", id, err)
	}
	return path, nil
}

// openSpill opens a spill file of size bytes behind its checked header.
func openSpill(path string, id spec.ObjectID, size uint64) (f *os.File, sum uint32, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, 0, fmt.Errorf("restore %s: %w: %w", id, ErrDamaged, err)
	}
	var head [spillHeader]byte
	_, err = io.ReadFull(f, head[:])
	info, statErr := f.Stat()
	switch {
	case err != nil || string(head[:8]) != spillMagic:
		err = fmt.Errorf("restore %s: %w: bad header in %s", id, ErrDamaged, path)
	case statErr != nil || binary.LittleEndian.Uint64(head[8:]) != size || uint64(info.Size()) != size+spillHeader:
		err = fmt.Errorf("restore %s: %w: %s is cut off", id, ErrDamaged, path)
	default:
		return f, binary.LittleEndian.Uint32(head[16:]), nil
	}
	_ = f.Close()
	return nil, 0, err
}

// readSpill fills dst with the whole object.
func readSpill(path string, id spec.ObjectID, dst []byte) error {
	f, sum, err := openSpill(path, id, uint64(len(dst)))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.ReadFull(f, dst); err != nil {
		return fmt.Errorf("restore %s: %w: %w", id, ErrDamaged, err)
	}
	if crc32.Checksum(dst, castagnoli) != sum {
		return fmt.Errorf("restore %s: %w: wrong checksum in %s", id, ErrDamaged, path)
	}
	return nil
}
