package objectstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ray/internal/spec"
)

func id(n byte) spec.ObjectID { return spec.ObjectID{0: n, 27: 1} }

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

type allocated struct {
	a   Alloc
	err error
}

func create(s *Store, client uint32, id spec.ObjectID, size uint64) allocated {
	got := make(chan allocated, 1)
	s.Create(client, id, size, func(a Alloc, err error) { got <- allocated{a, err} })
	select {
	case r := <-got:
		return r
	case <-time.After(10 * time.Second):
		return allocated{err: errors.New("no answer to Create")}
	}
}

func put(t *testing.T, s *Store, client uint32, id spec.ObjectID, data []byte, primary bool) {
	t.Helper()
	r := create(s, client, id, uint64(len(data)))
	if r.err != nil {
		t.Fatal(r.err)
	}
	copy(s.Bytes(r.a.Offset, uint64(len(data))), data)
	if _, err := s.Seal(client, id, primary); err != nil {
		t.Fatal(err)
	}
}

type gotten struct {
	off, size uint64
	err       error
}

func get(s *Store, client uint32, id spec.ObjectID) gotten {
	got := make(chan gotten, 1)
	s.Get(client, id, func(off, size uint64, err error) { got <- gotten{off, size, err} })
	select {
	case r := <-got:
		return r
	case <-time.After(10 * time.Second):
		return gotten{err: errors.New("no answer to Get")}
	}
}

func TestPutGetDelete(t *testing.T) {
	s := open(t, Config{Capacity: 1 << 20})
	data := bytes.Repeat([]byte("ray!"), 1000)
	put(t, s, 7, id(1), data, true)
	r := get(s, 8, id(1))
	if r.err != nil || !bytes.Equal(s.Bytes(r.off, r.size), data) {
		t.Fatalf("got %+v", r)
	}
	if r.off%64 != 0 {
		t.Errorf("offset %d is not aligned", r.off)
	}
	s.Delete(id(1))
	if s.Has(id(1)) {
		t.Error("deleted object is still there")
	}
	if !bytes.Equal(s.Bytes(r.off, r.size), data) || s.Stats().Used == 0 {
		t.Error("bytes went although a client has them pinned")
	}
	s.Unpin(8, id(1), 1)
	if used := s.Stats().Used; used != 0 {
		t.Errorf("%d bytes are left", used)
	}
	if r := get(s, 8, id(1)); !errors.Is(r.err, ErrUnknown) {
		t.Errorf("get of a deleted object: %v", r.err)
	}
}

func TestDeadClientGivesEverythingBack(t *testing.T) {
	s := open(t, Config{Capacity: 1 << 20})
	put(t, s, 1, id(1), make([]byte, 1000), true)
	get(s, 2, id(1))
	if r := create(s, 2, id(2), 5000); r.err != nil {
		t.Fatal(r.err)
	}
	s.Delete(id(1))
	s.ReleaseClient(2)
	if st := s.Stats(); st.Used != 0 || st.Objects != 0 {
		t.Errorf("after the client's death: %+v", st)
	}
}

func TestSecondaryCopiesGoBeforePrimariesAreSpilled(t *testing.T) {
	var evicted []spec.ObjectID
	dir := filepath.Join(t.TempDir(), "spill")
	s := open(t, Config{Capacity: 40 << 10, SpillDirs: []string{dir}, OnEvict: func(ids []spec.ObjectID) { evicted = append(evicted, ids...) }})
	put(t, s, 1, id(1), make([]byte, 16<<10), true)
	put(t, s, 1, id(2), make([]byte, 16<<10), false)
	put(t, s, 1, id(3), make([]byte, 16<<10), true)
	if !slices.Equal(evicted, []spec.ObjectID{id(2)}) {
		t.Errorf("evicted %v, want the secondary copy", evicted)
	}
	if st := s.Stats(); st.SpilledObjects != 0 {
		t.Errorf("spilled although a secondary copy could go: %+v", st)
	}
}

func TestSpillAndRestore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	s := open(t, Config{Capacity: 64 << 10, SpillDirs: []string{dir}})
	want := map[byte][]byte{}
	for n := byte(1); n <= 10; n++ {
		want[n] = bytes.Repeat([]byte{n}, 20<<10)
		put(t, s, 1, id(n), want[n], true)
	}
	if st := s.Stats(); st.SpilledObjects == 0 || st.Spilled == 0 {
		t.Fatalf("nothing was spilled: %+v", st)
	}
	for n := byte(1); n <= 10; n++ {
		r := get(s, 2, id(n))
		if r.err != nil || !bytes.Equal(s.Bytes(r.off, r.size), want[n]) {
			t.Fatalf("object %d came back wrong: %v", n, r.err)
		}
		s.Unpin(2, id(n), 1)
	}
	for n := byte(1); n <= 10; n++ {
		s.Delete(id(n))
	}
	noSpillFiles(t, dir)
	wait(t, "all memory to be free", func() bool { return s.Stats().Used == 0 })
	if st := s.Stats(); st.Used != 0 || st.Spilled != 0 {
		t.Errorf("left: %+v", st)
	}
}

func TestDamagedSpillFileIsAnErrorNotAWrongAnswer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	s := open(t, Config{Capacity: 64 << 10, SpillDirs: []string{dir}})
	put(t, s, 1, id(1), bytes.Repeat([]byte{1}, 40<<10), true)
	put(t, s, 1, id(2), bytes.Repeat([]byte{2}, 40<<10), true)
	path := spillFile(t, dir, id(1))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"flipped": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"empty":   func(b []byte) []byte { return nil },
	} {
		if err := os.WriteFile(path, damage(slices.Clone(data)), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := get(s, 2, id(1)); !errors.Is(r.err, ErrDamaged) {
			t.Errorf("%s: %v", name, r.err)
		}
	}
}

func TestFullStoreNamesTheHolders(t *testing.T) {
	s := open(t, Config{Capacity: 64 << 10, FullGrace: 50 * time.Millisecond})
	put(t, s, 1, id(1), make([]byte, 50<<10), true)
	get(s, 2, id(1))
	r := create(s, 1, id(2), 30<<10)
	var full *FullError
	if !errors.As(r.err, &full) || !errors.Is(r.err, ErrFull) {
		t.Fatalf("got %v", r.err)
	}
	if len(full.Biggest) == 0 || full.Biggest[0].ID != id(1) || full.Biggest[0].Pins != 1 {
		t.Errorf("holders: %+v", full.Biggest)
	}
	if r := create(s, 1, id(3), 1<<20); !errors.Is(r.err, ErrFull) {
		t.Errorf("larger than the store: %v", r.err)
	}
}

func TestCreateWaitsForAPinToGo(t *testing.T) {
	s := open(t, Config{Capacity: 64 << 10, SpillDirs: []string{filepath.Join(t.TempDir(), "spill")}, FullGrace: 20 * time.Second})
	put(t, s, 1, id(1), make([]byte, 50<<10), true)
	get(s, 2, id(1))
	got := make(chan error, 1)
	s.Create(1, id(2), 30<<10, func(_ Alloc, err error) { got <- err })
	select {
	case err := <-got:
		t.Fatalf("answered while everything is pinned: %v", err)
	default:
	}
	s.Unpin(2, id(1), 1)
	select {
	case err := <-got:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no answer after the pin went")
	}
}

func TestTrimGivesPagesBack(t *testing.T) {
	s := open(t, Config{Capacity: 64 << 20})
	put(t, s, 1, id(1), make([]byte, 40<<20), true)
	s.Delete(id(1))
	s.Trim()
	s.Trim()
	put(t, s, 1, id(2), []byte("x"), true)
	if _, warm, _ := s.table.alloc.alloc(1, 30<<20); warm {
		t.Error("trimmed pages count as warm")
	}
}

// A store on a disk has its room there from the start, and says so if there is none.
func TestStoreInADirectory(t *testing.T) {
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
		t.Skipf("%s is memory, not a disk: %v", dir, err)
	}
	s := open(t, Config{Capacity: 1 << 20, Dir: dir})
	put(t, s, 1, id(1), []byte("on the disk"), true)
	if name := s.arena.file.Name(); filepath.Dir(name) != dir {
		t.Errorf("the store is %s", name)
	}
	var file unix.Stat_t
	reserves := unix.Fallocate(int(s.arena.file.Fd()), 0, 0, 1<<20) == nil // not every file system can
	if err := unix.Fstat(int(s.arena.file.Fd()), &file); err != nil || file.Nlink != 0 || reserves && file.Blocks*512 < 1<<20+headerSize {
		t.Errorf("%+v, %v", file, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
	if _, err := New(Config{Capacity: fs.Blocks*uint64(fs.Bsize) + 1<<30, Dir: dir}); err == nil || !strings.Contains(err.Error(), "--object-store-memory") {
		t.Errorf("a store larger than its disk: %v", err)
	}
	if _, err := New(Config{Capacity: 1 << 20, Dir: filepath.Join(dir, "missing")}); err == nil {
		t.Error("a store in a directory that is not there")
	}
}
