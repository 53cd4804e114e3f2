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

	"ray/internal/spec"
)

// spillFiles lists the objects in a spill directory.
func spillFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// spillFile is the file that an object was the first to be spilled to.
func spillFile(t *testing.T, dir string, first spec.ObjectID) string {
	t.Helper()
	for _, name := range spillFiles(t, dir) {
		if strings.HasPrefix(name, first.String()) {
			return filepath.Join(dir, name)
		}
	}
	t.Fatalf("no file begins with %s", first)
	return ""
}

// noSpillFiles waits until a directory is empty: files go a little later.
func noSpillFiles(t *testing.T, dir string) {
	t.Helper()
	wait(t, "spill files to go", func() bool { return len(spillFiles(t, dir)) == 0 })
}

func TestObjectLargerThanTheStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Capacity: 1 << 20, SpillDirs: []string{dir}})
	data := bytes.Repeat([]byte("large!!!"), 3<<17)
	put(t, s, 1, id(1), data, true)
	r := get(s, 2, id(1))
	if r.err != nil || !bytes.Equal(s.Bytes(r.off, r.size), data) {
		t.Fatalf("got %d bytes, %v", r.size, r.err)
	}
	if r.off < s.FileSize() {
		t.Errorf("offset %d lies in the arena of %d bytes", r.off, s.FileSize())
	}
	mine := make([]byte, 8)
	if _, err := s.Overflow().ReadAt(mine, int64(r.off-s.FileSize())); err != nil || string(mine) != "large!!!" {
		t.Errorf("through the file: %q, %v", mine, err)
	}
	if st := s.Stats(); st.Used != 0 || st.Overflow < uint64(len(data)) {
		t.Errorf("%+v", st)
	}
	s.Delete(id(1))
	if !bytes.Equal(s.Bytes(r.off, r.size), data) {
		t.Error("bytes went although a client has them pinned")
	}
	s.ReleaseClient(2)
	if st := s.Stats(); st.Overflow != 0 || st.Objects != 0 {
		t.Errorf("left: %+v", st)
	}
	if left := spillFiles(t, dir); len(left) != 0 {
		t.Errorf("files: %v", left)
	}
}

func TestPinnedStoreGoesToDisk(t *testing.T) {
	s := open(t, Config{Capacity: 64 << 10, SpillDirs: []string{t.TempDir()}, FullGrace: 20 * time.Millisecond})
	put(t, s, 1, id(1), bytes.Repeat([]byte{1}, 40<<10), true)
	put(t, s, 1, id(2), bytes.Repeat([]byte{2}, 40<<10), true) // spills the first
	get(s, 2, id(2))
	for n := byte(3); n < 6; n++ {
		put(t, s, 1, id(n), bytes.Repeat([]byte{n}, 40<<10), true)
	}
	for n := byte(1); n < 6; n++ {
		r := get(s, 3, id(n))
		if r.err != nil || !bytes.Equal(s.Bytes(r.off, r.size), bytes.Repeat([]byte{n}, 40<<10)) {
			t.Fatalf("object %d: %v", n, r.err)
		}
	}
	s.ReleaseClient(2)
	s.ReleaseClient(3)
	for n := byte(1); n < 6; n++ {
		s.Delete(id(n))
	}
	wait(t, "all memory to be free", func() bool { return s.Stats().Used == 0 })
	if st := s.Stats(); st.Overflow != 0 || st.Spilled != 0 {
		t.Errorf("left: %+v", st)
	}
}

func TestFullDisk(t *testing.T) {
	s := open(t, Config{Capacity: 64 << 10, SpillDirs: []string{t.TempDir()}, FullGrace: 20 * time.Millisecond, DiskThreshold: 1e-9})
	put(t, s, 1, id(1), make([]byte, 40<<10), true)
	for name, size := range map[string]uint64{"beside others": 40 << 10, "larger than the store": 1 << 20} {
		r := create(s, 1, id(2), size)
		var full *FullError
		if !errors.Is(r.err, ErrDiskFull) || !errors.As(r.err, &full) || len(full.Biggest) != 1 {
			t.Errorf("%s: %v", name, r.err)
		}
	}
	s.Delete(id(1))
	put(t, s, 1, id(3), make([]byte, 40<<10), true) // memory still works
	if err := s.DisksFull(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("the disk is full: %v", err)
	}
	if err := open(t, Config{Capacity: 64 << 10}).DisksFull(); err != nil {
		t.Errorf("there is no disk: %v", err)
	}
}

func TestDisksTakeTurnsAndOneMayFail(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a, b := filepath.Join(base, "a"), filepath.Join(base, "b")
	s := open(t, Config{Capacity: 64 << 10, SpillDirs: []string{a, filepath.Join(file, "none"), b}, MinSpill: 1})
	for n := byte(1); n < 12; n++ {
		put(t, s, 1, id(n), bytes.Repeat([]byte{n}, 40<<10), true)
	}
	if na, nb := len(spillFiles(t, a)), len(spillFiles(t, b)); na != 5 || nb != 5 {
		t.Errorf("%d and %d files", na, nb)
	}
	// A directory that vanishes is made again, and what it held is lost.
	if err := os.RemoveAll(a); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for n := byte(1); n < 12; n++ {
		r := get(s, 2, id(n))
		switch {
		case errors.Is(r.err, ErrDamaged):
			lost++
			continue
		case r.err != nil || s.Bytes(r.off, r.size)[0] != n:
			t.Fatalf("object %d: %v", n, r.err)
		}
		s.Unpin(2, id(n), 1)
	}
	if lost != 5 {
		t.Errorf("%d objects are lost", lost)
	}
}

func TestPartsOfADamagedFileAreErrors(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Capacity: 32 << 20, SpillDirs: []string{dir}})
	data := bytes.Repeat([]byte("0123456789abcdef"), 20<<16)
	put(t, s, 1, id(1), data, true)
	put(t, s, 1, id(2), make([]byte, 20<<20), true)
	part, size, release, err := s.Range(id(1), 7<<20, 2<<20)
	if err != nil || size != uint64(len(data)) || !bytes.Equal(part, data[7<<20:9<<20]) {
		t.Fatalf("part of a spilled object: %d bytes, %v", len(part), err)
	}
	release()
	path := spillFile(t, dir, id(1))
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(file)
	bad[len(bad)-1] ^= 1
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Range(id(1), 7<<20, 2<<20); err != nil {
		t.Errorf("a part that is whole: %v", err)
	}
	if _, _, _, err := s.Range(id(1), 16<<20, 4<<20); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged part: %v", err)
	}
}

func TestStaleDirectoriesGo(t *testing.T) {
	parent := t.TempDir()
	stale, alive, foreign := filepath.Join(parent, "spill_1"), filepath.Join(parent, "spill_2"), filepath.Join(parent, "mine")
	unmarked := filepath.Join(parent, "spill_3") // not made by a store
	for _, dir := range []string{stale, foreign, unmarked} {
		if err := os.MkdirAll(filepath.Join(dir, "within"), 0o700); err != nil {
			t.Fatal(err)
		}
		if dir == unmarked {
			continue
		}
		if err := os.Chmod(dir, ownMode); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, Config{Capacity: 64 << 10, SpillDirs: []string{alive}})
	if gone := RemoveStale(parent, "spill_"); !slices.Equal(gone, []string{"1"}) {
		t.Errorf("gone: %v", gone)
	}
	for dir, want := range map[string]bool{stale: false, alive: true, foreign: true, unmarked: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
	// One that somebody removes is made again, and is the store's again.
	if err := os.RemoveAll(alive); err != nil {
		t.Fatal(err)
	}
	for n := byte(1); n <= 3; n++ {
		put(t, s, 1, id(n), make([]byte, 40<<10), true)
	}
	wait(t, "objects on disk", func() bool { return s.Stats().SpilledObjects > 0 })
	RemoveStale(parent, "spill_")
	if len(spillFiles(t, alive)) == 0 {
		t.Error("the directory of a living store was removed")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 2 {
		t.Errorf("left: %v %v", left, err)
	}
}
