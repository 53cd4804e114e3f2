package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"ray/internal/spec"
)

// Daemon is the client number of the node daemon itself (transfers, restores).
const Daemon uint32 = 0

// Errors of the store. FullError wraps ErrFull.
var (
	ErrFull     = errors.New("object store is full")
	ErrUnknown  = errors.New("object is not in this store")
	ErrExists   = errors.New("object exists already")
	ErrClosed   = errors.New("object store is closed")
	ErrDamaged  = errors.New("spilled object is damaged")
	ErrDiskFull = errors.New("no disk space left to spill objects")
)

// Config of a Store.
type Config struct {
	Capacity uint64 // bytes of objects
	// SpillDirs take objects in turn. They belong to this store alone: New makes
	// them and Close removes them. The first one also holds the file for what
	// does not fit into memory.
	SpillDirs []string
	// Piece is how many bytes go to a disk in one write; 0 means 4 MB.
	Piece int
	// Remotes take objects in turn, beside SpillDirs. OverflowDir is then what
	// the first of SpillDirs is else: the place for what does not fit into memory.
	Remotes     []Remote
	OverflowDir string
	// Dir is a directory on whose disk the store is kept; "" keeps it in memory.
	Dir string
	// MinSpill is the size in bytes from which a spill file is worth its cost:
	// so much is spilled at once, but of at most MaxFused objects. 0 means 100 MB
	// and 2000, upstream's numbers.
	MinSpill uint64
	MaxFused int
	// SpillThreshold is the used fraction of the store from which primary copies
	// are written to disk ahead of need, and stay in memory; 0 means 1: never.
	SpillThreshold float64
	// NoSpill keeps objects in memory; only the overflow goes to disk.
	NoSpill bool
	// DiskThreshold is the used fraction of a disk above which nothing more is
	// written to it; 0 means 0.95.
	DiskThreshold float64
	// FullGrace is how long a Create waits for others to let go before it gets
	// file-backed memory; 0 means 2 s.
	FullGrace time.Duration
	// OnEvict tells that secondary copies were dropped to make room. It runs on
	// whichever goroutine made the room, without locks held.
	OnEvict func([]spec.ObjectID)
	Log     *slog.Logger
}

// Alloc is room for one object, at an offset of the arena file.
type Alloc struct {
	Offset uint64 // of the file that clients map; a multiple of 64
	Warm   bool   // the client has had these pages mapped: copy, do not pwrite
}

// Store is the machine's object store. Safe for concurrent use.
type Store struct {
	cfg   Config
	arena *arena

	mu      sync.Mutex
	table   *table
	waiting []*request // creates and restores that found no room, in order
	closed  bool
	wake    chan struct{}
	done    chan struct{}
	ahead   uint64 // fresh bytes to make exist
	lent    uint64 // bytes of spares
	peak    uint64 // the most that was used since the last Peak
	tight   bool   // room had to be made since then
	stats   Stats

	borrowers map[uint32]*borrower // by client

	volumes []volume
	own     []*directory // those of volumes, and the overflow's
	remotes []*remoteVolume
	over    *overflow // nil without a disk
	stuck   bool      // a request has waited in vain, and nobody has let go of anything since

	io         sync.WaitGroup // goroutines that read and write files
	ioSlots    chan struct{}
	stop       context.CancelFunc // of what Remotes do
	files      map[*file]bool
	fileNumber int
	turn       int
	spills     int    // files being written
	spilling   uint64 // bytes of their objects
	spillErr   error  // of the last try
	spillAgain time.Time
	behind     writeBehind
}

// request is a Create or restore that waits for room.
type request struct {
	client   uint32
	id       spec.ObjectID
	size     uint64
	deadline time.Time // zero until it is the first in the line
	done     func(*entry, bool, error)
	restore  *entry // the spilled object that the room is for; nil for a Create
}

// New makes a store with its arena.
func New(cfg Config) (*Store, error) {
	if cfg.FullGrace == 0 {
		cfg.FullGrace = 2 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	capacity := roundUp(max(cfg.Capacity, pageSize), pageSize)
	arena, err := openArena(capacity, cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, arena: arena, table: newTable(capacity),
		wake: make(chan struct{}, 1), done: make(chan struct{}), ioSlots: make(chan struct{}, maxIO), files: map[*file]bool{},
		borrowers: map[uint32]*borrower{}}
	s.stop = func() {}
	s.Spill(cfg)
	s.table.freeOver = func(r *region) { s.over.free(r) }
	go s.run()
	return s, nil
}

// Spill sets what cfg says about spilling and opens its directories, for a
// store that was made without any. Clients that got the arena before have no
// room outside it. A directory that cannot be made is left out: a node whose
// disk fails can still work.
func (s *Store) Spill(cfg Config) {
	if cfg.MinSpill == 0 {
		cfg.MinSpill = 100 << 20
	}
	if cfg.MaxFused == 0 {
		cfg.MaxFused = 2000
	}
	if cfg.DiskThreshold == 0 {
		cfg.DiskThreshold = 0.95
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.own) > 0 || len(s.volumes) > 0 {
		return
	}
	c := &s.cfg
	c.MinSpill, c.MaxFused, c.NoSpill, c.DiskThreshold, c.Piece = cfg.MinSpill, cfg.MaxFused, cfg.NoSpill, cfg.DiskThreshold, cfg.Piece
	c.SpillThreshold = cfg.SpillThreshold
	for _, dir := range cfg.SpillDirs {
		if d := s.openDirectory(dir); d != nil {
			s.volumes = append(s.volumes, d)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	for _, r := range cfg.Remotes {
		v := &remoteVolume{ctx, r}
		s.remotes, s.volumes = append(s.remotes, v), append(s.volumes, v)
	}
	if len(s.own) == 0 && cfg.OverflowDir != "" {
		s.openDirectory(cfg.OverflowDir)
	}
}

func (s *Store) openDirectory(dir string) *directory {
	d, err := openDirectory(dir, s.cfg.DiskThreshold, s.cfg.Piece)
	if err != nil {
		s.cfg.Log.Warn("object store: a spill directory cannot be used", "error", err)
		return nil
	}
	s.own = append(s.own, d)
	if s.over == nil {
		if s.over, err = openOverflow(dir, d.room, s.FileSize()); err != nil {
			s.cfg.Log.Warn("object store: objects larger than it will fail", "error", err)
		}
	}
	return d
}

// File is the arena, to be handed to clients; the Store keeps it.
func (s *Store) File() *os.File { return s.arena.file }

// FileSize is how many bytes clients map.
func (s *Store) FileSize() uint64 { return uint64(len(s.arena.mem)) }

// Slots is the number of slots in the header; SlotOffset where slot i lies.
func (s *Store) Slots() int              { return slotCount }
func (s *Store) SlotOffset(i int) uint64 { return uint64(i) * slotSize }
func (s *Store) ReadSlot(i int) uint64   { return s.arena.slot(i, slotRunning) }
func (s *Store) ClearSlot(i int)         { s.arena.clearSlot(i) }

// Begun is the number of the last task that the worker with slot i was about
// to begin. HoldSlot keeps it from beginning further ones of the epoch,
// whether or not the process runs; not ok: it begins one after the other.
func (s *Store) Begun(i int) uint32 { return uint32(s.arena.slot(i, slotBegun)) }
func (s *Store) HoldSlot(i int, epoch uint32) (begun uint32, ok bool) {
	return s.arena.hold(i, epoch)
}

// Create finds room for an object of a client. done is called once: before
// Create returns if there is room, else later from the store's goroutine.
func (s *Store) Create(client uint32, id spec.ObjectID, size uint64, done func(Alloc, error)) {
	s.reserve(client, id, size, func(e *entry, warm bool, err error) {
		if err != nil {
			done(Alloc{}, err)
			return
		}
		done(Alloc{Offset: s.fileOffset(e), Warm: warm}, nil)
	})
}

func (s *Store) reserve(client uint32, id spec.ObjectID, size uint64, done func(*entry, bool, error)) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		done(nil, false, ErrClosed)
		return
	}
	if s.table.objects[id] != nil {
		s.mu.Unlock()
		done(nil, false, fmt.Errorf("create %s: %w", id, ErrExists))
		return
	}
	if len(s.waiting) == 0 {
		e, warm, evicted, ok := s.tryCreate(&request{client: client, id: id, size: size})
		if ok {
			s.aheadOf(size, warm)
			s.mu.Unlock()
			s.evicted(evicted)
			done(e, warm, nil)
			return
		}
		defer s.evicted(evicted)
	}
	s.waiting = append(s.waiting, &request{client: client, id: id, size: size, done: done})
	s.mu.Unlock()
	s.poke()
}

// tryCreate finds room for r, ending spares and dropping secondary copies if
// that helps. Lock held.
func (s *Store) tryCreate(r *request) (e *entry, warm bool, evicted []spec.ObjectID, ok bool) {
	if roundUp(r.size, align) > s.table.alloc.size {
		return nil, false, nil, false
	}
	for {
		if r.restore != nil {
			ok = s.table.makeRoom(r.restore)
			e = r.restore
		} else {
			e, warm, ok = s.table.create(r.client, r.id, r.size)
		}
		if ok {
			s.peak = max(s.peak, s.table.alloc.used-s.lent)
			return e, warm, evicted, true
		}
		if s.takeAllBack() {
			continue
		}
		s.tight = true
		victims := s.table.victims(false, r.size)
		if len(victims) == 0 {
			return nil, false, evicted, false
		}
		for _, v := range victims {
			evicted = append(evicted, v.id)
			s.leave(s.table.remove(v))
			s.stats.Evicted++
		}
	}
}

func (s *Store) evicted(ids []spec.ObjectID) {
	if len(ids) > 0 && s.cfg.OnEvict != nil {
		s.cfg.OnEvict(ids)
	}
}

// sealedHead is how many bytes of an object Seal gives back at most.
const sealedHead = 8

// Seal makes a written object readable and gives its first bytes. primary
// copies are never dropped, only spilled, until Delete.
func (s *Store) Seal(client uint32, id spec.ObjectID, primary bool) (head []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table.objects[id]
	switch {
	case e == nil:
		return nil, fmt.Errorf("seal %s: %w", id, ErrUnknown)
	case e.creator != client:
		return nil, fmt.Errorf("seal %s: it was created by another client", id)
	case e.inArena:
		head = bytes.Clone(s.data(e)[:min(sealedHead, e.size)])
	}
	e.sealed, e.primary = true, primary
	s.fuller(time.Now())
	if !e.pinned() {
		delete(s.table.clients[client], e)
	}
	return head, nil
}

// Keep makes a sealed copy a primary one: from now on it is spilled, never
// dropped. False: it is not here any more.
func (s *Store) Keep(id spec.ObjectID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table.objects[id]
	if e == nil || !e.sealed {
		return false
	}
	e.primary = true
	return true
}

// Trim gives pages that stayed free since the last Trim back to the system,
// leaving some for the next objects. Call it every few seconds.
func (s *Store) Trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.fuller(time.Now())
	s.takeIdleBack()
	spare := min(s.table.alloc.size/4, 512<<20)
	for _, e := range s.table.alloc.trim(pageSize, spare) {
		if err := s.arena.punch(e); err != nil {
			s.cfg.Log.Warn("object store: pages could not be returned", "error", err)
			return
		}
	}
}

// Close ends the store: waiting requests fail, spill files are removed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	s.poke()
	<-s.done
	for _, r := range waiting {
		if r.restore != nil {
			s.mu.Lock()
			s.endRestore(r.restore, ErrClosed)
		} else {
			r.done(nil, false, ErrClosed)
		}
	}
	s.stop()
	s.io.Wait()
	err := s.arena.close()
	if s.over != nil {
		err = errors.Join(err, s.over.close())
	}
	return errors.Join(err, s.closeVolumes())
}

// closeVolumes removes all that was spilled.
func (s *Store) closeVolumes() (err error) {
	for _, r := range s.remotes {
		var names []string
		for f := range s.files {
			if f.volume == volume(r) {
				names = append(names, f.name)
			}
		}
		err = errors.Join(err, r.close(names))
	}
	for _, d := range s.own {
		err = errors.Join(err, d.close())
	}
	return err
}

func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
