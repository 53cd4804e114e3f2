package objectstore

import (
	"bytes"
	"path/filepath"
	"testing"
)

func TestWhatFillsTheStoreIsWrittenAhead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	const size = 64 << 10
	s := open(t, Config{Capacity: 16 * size, SpillDirs: []string{dir}, MinSpill: 2 * size, SpillThreshold: 0.8})
	content := func(n byte) []byte { return bytes.Repeat([]byte{n}, size) }
	for n := byte(1); n <= 12; n++ {
		put(t, s, 1, id(n), content(n), true)
	}
	s.Trim() // as the daemon does every few seconds
	if st := s.Stats(); st.SpilledObjects != 0 {
		t.Fatalf("below the threshold: %+v", st)
	}
	get(s, 2, id(1)) // in use, and used last
	put(t, s, 1, id(13), content(13), true)
	wait(t, "half of the store to be on disk", func() bool { s.Trim(); return s.Stats().SpilledObjects >= 6 })
	st := s.Stats()
	if st.SpilledObjects != 6 || st.Used != 13*size || st.Spilled != 6*size {
		t.Fatalf("what is written must stay in memory, and no more be written: %+v", st)
	}
	for n := byte(1); n <= 13; n++ {
		if onDisk := n >= 2 && n <= 7; s.spilledAs(id(n)) != onDisk || !s.InMemory(id(n)) {
			t.Errorf("object %d: on disk %v, in memory %v", n, s.spilledAs(id(n)), s.InMemory(id(n)))
		}
	}
	// Room is there at once now: nothing more has to be written for it.
	for n := byte(14); n <= 18; n++ {
		put(t, s, 1, id(n), content(n), true)
	}
	for n := byte(1); n <= 18; n++ {
		if r := get(s, 3, id(n)); r.err != nil || !bytes.Equal(s.Bytes(r.off, r.size), content(n)) {
			t.Fatalf("object %d: %v", n, r.err)
		}
		s.Unpin(3, id(n), 1)
	}
	for n := byte(1); n <= 18; n++ {
		s.Delete(id(n))
	}
	s.Unpin(2, id(1), 1)
	wait(t, "the files to go", func() bool { return len(spillFiles(t, dir)) == 0 })
	if st := s.Stats(); st.Used != 0 || st.Spilled != 0 {
		t.Errorf("%+v", st)
	}
}

// spilledAs tells whether an object is on a volume.
func (s *Store) spilledAs(id [28]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table.objects[id]
	return e != nil && e.place != nil
}
