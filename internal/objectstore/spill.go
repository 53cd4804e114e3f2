package objectstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ray/internal/spec"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// spillHeader precedes the bytes in a spill file: magic, length, checksum.
const (
	spillMagic  = "RAYSPL01"
	spillHeader = 8 + 8 + 4
)

// fullTick is how often a full store looks again while requests wait.
const fullTick = 20 * time.Millisecond

// run serves requests that wait for room, and makes pages exist ahead.
func (s *Store) run() {
	defer close(s.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-s.wake:
		case <-timer.C:
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.populateAhead()
		if s.serve() {
			timer.Reset(fullTick)
		}
	}
}

// serve answers waiting requests in order; it returns true if some are left.
func (s *Store) serve() (more bool) {
	for {
		s.mu.Lock()
		if s.closed || len(s.waiting) == 0 {
			s.mu.Unlock()
			return false
		}
		r := s.waiting[0]
		if r.restore != nil && (r.restore.gone || len(r.restore.waiters) == 0) {
			s.waiting = s.waiting[1:]
			s.endRestore(r.restore, ErrUnknown)
			continue
		}
		e, warm, evicted, ok := s.tryCreate(r)
		if ok {
			s.waiting = s.waiting[1:]
		}
		s.mu.Unlock()
		s.evicted(evicted)
		if ok && r.restore != nil {
			s.restore(e)
			continue
		}
		if ok {
			r.done(e, warm, nil)
			continue
		}
		freed, err := s.spillFor(r.size)
		if freed && err == nil {
			continue
		}
		tooBig := roundUp(r.size, align) > s.table.alloc.size
		if !tooBig && err == nil && time.Now().Before(r.deadline) {
			return true
		}
		s.mu.Lock()
		if len(s.waiting) > 0 && s.waiting[0] == r {
			s.waiting = s.waiting[1:]
		}
		s.mu.Unlock()
		if err = s.fullError(r.size, err); r.restore == nil {
			r.done(nil, false, err)
			continue
		}
		s.mu.Lock()
		s.endRestore(r.restore, err)
	}
}

// FullError says that an object does not fit, and what takes the room.
type FullError struct {
	Size, Capacity, Used uint64
	Biggest              []Holding
	Cause                error // of spilling; nil if nothing could be spilled
}

func (e *FullError) Unwrap() error {
	if e.Cause != nil {
		return e.Cause
	}
	return ErrFull
}

func (e *FullError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "an object of %d bytes does not fit into the object store (%d of %d bytes in use)", e.Size, e.Used, e.Capacity)
	if e.Size > e.Capacity {
		b.WriteString("; it is larger than the store: start the node with a larger --object-store-memory")
	} else if e.Cause != nil {
		fmt.Fprintf(&b, "; spilling failed: %v", e.Cause)
	} else {
		b.WriteString("; everything in it is in use: drop references, or start the node with a larger --object-store-memory")
	}
	for _, h := range e.Biggest {
		fmt.Fprintf(&b, "\n  %s %d bytes, pinned by %d processes", h.ID, h.Size, h.Pins)
	}
	return b.String()
}

func (s *Store) fullError(size uint64, cause error) error {
	st := s.Stats()
	return &FullError{Size: size, Capacity: st.Capacity, Used: st.Used, Biggest: s.List(5), Cause: cause}
}

// spillFor writes primary copies to disk until about need bytes are free.
func (s *Store) spillFor(need uint64) (freed bool, err error) {
	if s.cfg.SpillDir == "" {
		return false, nil
	}
	s.mu.Lock()
	victims := s.table.victims(true, need)
	for _, e := range victims {
		e.busy = true
	}
	s.mu.Unlock()
	for _, e := range victims {
		ok, spillErr := s.spillOne(e)
		freed = freed || ok
		err = errors.Join(err, spillErr)
	}
	if freed {
		err = nil
	}
	return freed, err
}

// spillOne writes one object and frees its memory. e is busy: nobody moves it.
func (s *Store) spillOne(e *entry) (bool, error) {
	path := e.file
	var err error
	if path == "" {
		path, err = writeSpill(s.cfg.SpillDir, e.id, s.arena.bytes(e.off, e.size))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.busy = false
	if err != nil {
		if e.gone && !e.pinned() {
			s.table.drop(e)
		}
		return false, err
	}
	switch {
	case e.gone: // deleted meanwhile
		s.removeFile(path)
		if !e.pinned() {
			s.table.drop(e)
		}
		return true, nil
	case e.file == "":
		e.file = path
		s.table.spilled += e.size
		s.stats.SpilledTotal += e.size
		s.stats.SpilledObjects++
	}
	if e.pinned() { // somebody took it meanwhile: keep both
		return false, nil
	}
	s.table.drop(e)
	return true, nil
}

// startRestore asks the store's goroutine to bring e back. Those who wait for
// objects hold memory that those who create need, so they go first. Lock held.
func (s *Store) startRestore(e *entry) {
	e.busy = true
	r := &request{id: e.id, size: e.size, deadline: time.Now().Add(s.cfg.FullGrace), restore: e}
	i := slices.IndexFunc(s.waiting, func(o *request) bool { return o.restore == nil })
	if i < 0 {
		i = len(s.waiting)
	}
	s.waiting = slices.Insert(s.waiting, i, r)
}

// restore fills the room that e got. e is busy: nobody moves or frees it.
func (s *Store) restore(e *entry) {
	s.mu.Lock()
	path := e.file
	s.mu.Unlock()
	err := readSpill(path, e.id, s.arena.bytes(e.off, e.size))
	s.mu.Lock()
	if err == nil && !e.gone {
		e.inArena = true
		s.stats.RestoredTotal += e.size
		s.stats.RestoredObjects++
	} else {
		s.table.alloc.release(e.off, e.size, e.creator)
	}
	s.endRestore(e, err)
}

// endRestore answers everybody who waited for e. Lock held; it lets go of it.
func (s *Store) endRestore(e *entry, err error) {
	e.busy = false
	waiters := e.waiters
	e.waiters = nil
	if e.gone {
		err = fmt.Errorf("get %s: %w", e.id, ErrUnknown)
		s.table.drop(e)
	}
	if err == nil {
		for _, w := range waiters {
			s.table.pin(w.client, e)
		}
	}
	off, size := s.fileOffset(e), e.size
	s.mu.Unlock()
	for _, w := range waiters {
		if err != nil {
			w.done(0, 0, err)
		} else {
			w.done(off, size, nil)
		}
	}
}

// dropWaiters takes a dead client's wishes off the objects that are being
// restored. Lock held; the caller answers them.
func (s *Store) dropWaiters(client uint32) (dropped []waiter) {
	for _, e := range s.table.objects {
		if len(e.waiters) == 0 {
			continue
		}
		kept := e.waiters[:0]
		for _, w := range e.waiters {
			if w.client == client {
				dropped = append(dropped, w)
			} else {
				kept = append(kept, w)
			}
		}
		e.waiters = kept
	}
	return dropped
}

func (s *Store) removeFile(path string) {
	if path != "" {
		_ = os.Remove(path)
	}
}

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

// Page allocation ahead: a first touch costs about 2 µs a page; the daemon
// pays it while the client is still copying the object before.
const (
	aheadMin = 1 << 20
	aheadMax = 128 << 20
)

// aheadOf asks for as many fresh pages as the last object took. Lock held.
func (s *Store) aheadOf(size uint64, warm bool) {
	if !warm && size >= aheadMin {
		s.ahead = min(size, aheadMax)
		s.poke()
	}
}

func (s *Store) populateAhead() {
	s.mu.Lock()
	want := s.ahead
	s.ahead = 0
	e, ok := s.table.alloc.fresh()
	s.mu.Unlock()
	if want == 0 || !ok {
		return
	}
	// Populating pages that meanwhile belong to an object is harmless.
	if err := s.arena.populate(e.off, min(want, e.size)); err != nil {
		s.cfg.Log.Warn("object store: pages could not be allocated ahead", "error", err)
	}
}
