package objectstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// onDisk is how many bytes of disk a file takes.
func onDisk(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

func TestSmallObjectsShareAFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	s := open(t, Config{Capacity: 1 << 20, SpillDirs: []string{dir}, MinSpill: 384 << 10})
	content := func(n byte) []byte { return bytes.Repeat([]byte{n, ^n}, 24<<9) } // 24 KiB
	for n := byte(1); n <= 48; n++ {
		put(t, s, 1, id(n), content(n), true)
	}
	wait(t, "the file to be whole", func() bool { return s.Stats().SpilledObjects >= 16 })
	if names := spillFiles(t, dir); len(names) != 1 || s.Stats().SpilledObjects != 16 {
		t.Fatalf("%v, %+v", names, s.Stats())
	}
	path := spillFile(t, dir, id(1))
	if info, err := os.Stat(path); err != nil || info.Size() < 384<<10 {
		t.Errorf("%v %v", info, err)
	}
	for n := byte(1); n <= 16; n++ {
		if data, _, release, err := s.Range(id(n), 0, 1<<20); err != nil || !bytes.Equal(data, content(n)) {
			t.Fatalf("object %d: %v", n, err)
		} else {
			release()
		}
	}
	// What is deleted gives its room back, and the others stay.
	before := onDisk(t, path)
	for n := byte(2); n <= 16; n++ {
		s.Delete(id(n))
	}
	wait(t, "room to be given back", func() bool { return onDisk(t, path) <= before/8 })
	r := get(s, 2, id(1))
	if r.err != nil || !bytes.Equal(s.Bytes(r.off, r.size), content(1)) {
		t.Fatal(r.err)
	}
	s.Unpin(2, id(1), 1)
	s.Delete(id(1))
	noSpillFiles(t, dir)
	if st := s.Stats(); st.Spilled != 0 {
		t.Errorf("left: %+v", st)
	}
}

func TestAFileThatCannotBeFinishedKeepsWhatItHas(t *testing.T) {
	dir := t.TempDir()
	d, err := openDirectory(filepath.Join(dir, "spill"), 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	// A limit on the size of files stands for a disk that fills up. It is this
	// process's, whose own log of the test must stay below it.
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: 1800 << 10, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	}()
	parts := [][]byte{bytes.Repeat([]byte{1}, 500_000), bytes.Repeat([]byte{2}, 600_000), bytes.Repeat([]byte{3}, 900_000)}
	offsets := map[int]uint64{}
	if err := d.write("file", parts, func(i int, off uint64) { offsets[i] = off }); err == nil || len(offsets) != 2 {
		t.Fatalf("%v, %v", offsets, err)
	}
	f, err := d.open("file")
	if err != nil {
		t.Fatal(err)
	}
	for i, off := range offsets {
		got := make([]byte, len(parts[i]))
		if _, err := f.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, parts[i]) {
			t.Errorf("part %d: %v", i, err)
		}
	}
	if err := errors.Join(f.Close(), d.remove("file"), d.remove("file"), d.close()); err != nil {
		t.Error(err)
	}
	if left := spillFiles(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// bucket is a Remote in memory.
type bucket struct {
	mu    sync.Mutex
	files map[string][]byte
	fails bool
}

func (b *bucket) Put(_ context.Context, name string, body io.ReaderAt, size int64) error {
	data, err := io.ReadAll(io.NewSectionReader(body, 0, size))
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails || int64(len(data)) != size {
		return errors.New("refused")
	}
	b.files[name] = data
	return err
}

func (b *bucket) Get(_ context.Context, name string, off int64, dst []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.files[name]
	if !ok || int(off)+len(dst) > len(data) {
		return errors.New("there is none")
	}
	copy(dst, data[off:])
	return nil
}

func (b *bucket) Delete(_ context.Context, names ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range names {
		delete(b.files, n)
	}
	return nil
}

func (b *bucket) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.files)
}

func TestRemotesTakeTurnsWithDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	b := &bucket{files: map[string][]byte{}}
	s := open(t, Config{Capacity: 64 << 10, SpillDirs: []string{dir}, Remotes: []Remote{b}, MinSpill: 1})
	for n := byte(1); n <= 9; n++ {
		put(t, s, 1, id(n), bytes.Repeat([]byte{n}, 40<<10), true)
	}
	if nb, nd := b.count(), len(spillFiles(t, dir)); nb != 4 || nd != 4 {
		t.Errorf("%d and %d files", nb, nd)
	}
	for n := byte(1); n <= 9; n++ {
		r := get(s, 2, id(n))
		if r.err != nil || !bytes.Equal(s.Bytes(r.off, r.size), bytes.Repeat([]byte{n}, 40<<10)) {
			t.Fatalf("object %d: %v", n, r.err)
		}
		s.Unpin(2, id(n), 1)
	}
	s.Delete(id(1), id(2), id(3), id(4), id(5), id(6), id(7))
	wait(t, "files to go", func() bool { return b.count() == 1 && len(spillFiles(t, dir)) == 1 })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if b.count() != 0 {
		t.Errorf("%d files are left", b.count())
	}
}

func TestOnlyARemoteAndItFails(t *testing.T) {
	over := filepath.Join(t.TempDir(), "over")
	b := &bucket{files: map[string][]byte{}, fails: true}
	s := open(t, Config{Capacity: 64 << 10, Remotes: []Remote{b}, OverflowDir: over, FullGrace: 1})
	for n := byte(1); n <= 3; n++ {
		put(t, s, 1, id(n), bytes.Repeat([]byte{n}, 40<<10), true)
	}
	if st := s.Stats(); st.Overflow == 0 || st.SpilledObjects != 0 {
		t.Errorf("%+v", st)
	}
	b.mu.Lock()
	b.fails = false
	b.mu.Unlock()
	s.mu.Lock()
	s.spillAgain, s.spillErr = s.spillAgain.Add(-spillPause), nil
	s.mu.Unlock()
	put(t, s, 1, id(4), make([]byte, 1<<20), true) // larger than the store
	put(t, s, 1, id(5), make([]byte, 60<<10), true)
	if b.count() != 1 {
		t.Errorf("%d files", b.count())
	}
	b.mu.Lock()
	clear(b.files)
	b.mu.Unlock()
	if r := get(s, 2, id(1)); !errors.Is(r.err, ErrDamaged) || !strings.Contains(r.err.Error(), "there is none") {
		t.Error(r.err)
	}
}

func TestJoined(t *testing.T) {
	j := joined{[]byte("ab"), nil, []byte("cde")}
	if j.size() != 5 {
		t.Fatal(j.size())
	}
	for off := range int64(7) {
		for n := range 7 {
			got := make([]byte, n)
			m, err := j.ReadAt(got, off)
			want := "abcde"[min(off, 5):min(off+int64(n), 5)]
			if string(got[:m]) != want || (m < n) != (err == io.EOF && n > 0) {
				t.Errorf("%d at %d: %q %v", n, off, got[:m], err)
			}
		}
	}
}

// TestFilesOfAnyShape writes and reads parts of all sizes around those of
// blocks and buffers.
func TestFilesOfAnyShape(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/dev/shm"} { // the latter may have no O_DIRECT
		dir = filepath.Join(dir, "spill-"+filepath.Base(t.TempDir()))
		for _, piece := range []int{0, 1, 10_000} {
			d, err := openDirectory(dir, 1, piece)
			if err != nil {
				t.Fatal(err)
			}
			var parts [][]byte
			for i, size := range []int{0, 1, 64, blockSize - 1, blockSize, blockSize + 1, 3*blockSize + 5, 0, 10_000, bufferSize - blockSize, 2*bufferSize + 17} {
				if piece == 1 && size > bufferSize {
					size = 100_000
				}
				parts = append(parts, bytes.Repeat([]byte{byte(i + 1), byte(i)}, (size+1)/2)[:size])
			}
			offsets := map[int]uint64{}
			if err := d.write("file", parts, func(i int, off uint64) { offsets[i] = off }); err != nil || len(offsets) != len(parts) {
				t.Fatal(offsets, err)
			}
			f, err := d.open("file")
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range parts {
				got := make([]byte, len(p))
				if n, err := f.ReadAt(got, int64(offsets[i])); err != nil || n != len(p) || !bytes.Equal(got, p) {
					t.Errorf("part %d of %d bytes, piece %d: %d %v", i, len(p), piece, n, err)
				}
			}
			if _, err := f.ReadAt(make([]byte, 2*bufferSize), int64(offsets[len(parts)-1]+bufferSize)); err == nil {
				t.Error("a read past the end succeeds")
			}
			if err := errors.Join(f.Close(), d.close()); err != nil {
				t.Error(err)
			}
		}
	}
}
