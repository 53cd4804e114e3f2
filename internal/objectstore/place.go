package objectstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"

	"ray/internal/spec"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumChunk is how many bytes of an object share a checksum: chunks are checked
// one by one, so that a part can be read without the rest.
const sumChunk = 2 << 20

func chunks(size uint64) int { return int((size + sumChunk - 1) / sumChunk) }

func chunkOf(data []byte, i int) []byte {
	return data[i*sumChunk : min((i+1)*sumChunk, len(data))]
}

// file is one spill file, with the bytes of several objects.
type file struct {
	volume volume
	name   string
	live   int // places that somebody needs, and the writer while it writes
}

// place is where the bytes of an object lie on a volume.
type place struct {
	file      *file
	off, size uint64
	sums      []byte // a CRC-32C for each chunk
	users     int    // the object's entry, and whoever reads
}

// sumsOf computes the checksums of an object.
func sumsOf(data []byte) []byte {
	sums := make([]byte, 0, 4*chunks(uint64(len(data))))
	for i := range chunks(uint64(len(data))) {
		sums = binary.LittleEndian.AppendUint32(sums, crc32.Checksum(chunkOf(data, i), castagnoli))
	}
	return sums
}

// readers is how many chunks of an object are read at the same time: while one
// is checked the next is on its way.
const readers = 3

// read fills dst with the chunks of an object from chunk first on.
func (p *place) read(id spec.ObjectID, first int, dst []byte) error {
	f, err := p.file.volume.open(p.file.name)
	if err != nil {
		return fmt.Errorf("restore %s: %w: %w", id, ErrDamaged, err)
	}
	var next atomic.Int64
	total := chunks(uint64(len(dst)))
	errs := make([]error, min(readers, total))
	work := func(worker int) {
		for errs[worker] == nil {
			i := int(next.Add(1)) - 1
			if i >= total {
				return
			}
			if errs[worker] = p.readChunk(id, f, first+i, chunkOf(dst, i)); errs[worker] != nil {
				next.Store(int64(total)) // nobody needs the rest
			}
		}
	}
	var wg sync.WaitGroup
	for worker := 1; worker < len(errs); worker++ {
		wg.Go(func() { work(worker) })
	}
	if len(errs) > 0 {
		work(0)
	}
	wg.Wait()
	return errors.Join(errors.Join(errs...), f.Close())
}

func (p *place) readChunk(id spec.ObjectID, f volumeFile, i int, dst []byte) error {
	if _, err := f.ReadAt(dst, int64(p.off)+int64(i)*sumChunk); err != nil {
		return fmt.Errorf("restore %s: %w: it cannot be read from %s: %w", id, ErrDamaged, p.file.name, err)
	}
	if crc32.Checksum(dst, castagnoli) != binary.LittleEndian.Uint32(p.sums[4*i:]) {
		return fmt.Errorf("restore %s: %w: wrong checksum in %s", id, ErrDamaged, p.file.name)
	}
	return nil
}

// readRange reads n bytes at off.
func (p *place) readRange(id spec.ObjectID, off, n uint64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	first, last := off/sumChunk, (off+n-1)/sumChunk
	size := min((last+1)*sumChunk, p.size) - first*sumChunk
	buf := aligned(int(roundUp(size, blockSize)))[:size]
	if err := p.read(id, int(first), buf); err != nil {
		return nil, err
	}
	return buf[off-first*sumChunk:][:n], nil
}

// leave ends somebody's use of a place; the last one gives its room back. Lock held.
func (s *Store) leave(p *place) {
	if p == nil {
		return
	}
	if p.users--; p.users > 0 {
		return
	}
	f := p.file
	if !s.leaveFile(f) {
		s.background(func() { f.volume.discard(f.name, p.off, p.size) })
	}
}

// left is leave for those who do not hold the lock.
func (s *Store) left(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(p)
}

// leaveFile removes a file that nobody needs any more. Lock held.
func (s *Store) leaveFile(f *file) (removed bool) {
	if f.live--; f.live > 0 {
		return false
	}
	s.background(func() {
		if err := f.volume.remove(f.name); err != nil {
			s.cfg.Log.Warn("object store: a spill file is left until the end", "error", err)
			return
		}
		s.mu.Lock()
		delete(s.files, f)
		s.mu.Unlock()
	})
	return true
}

// background does what needs a disk. Lock held; after Close nothing is begun.
func (s *Store) background(work func()) {
	if s.closed {
		return
	}
	s.io.Go(func() {
		s.ioSlots <- struct{}{}
		defer func() { <-s.ioSlots }()
		work()
	})
}
