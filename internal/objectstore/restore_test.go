package objectstore

import (
	"bytes"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ray/internal/spec"
)

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("gave up waiting: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// spilled makes object 1 of size bytes, and 2, which pushes it to disk.
func spilled(t *testing.T, s *Store, size int) []byte {
	t.Helper()
	data := bytes.Repeat([]byte("spilled "), size/8)
	put(t, s, 1, id(1), data, true)
	put(t, s, 1, id(2), make([]byte, size), true)
	if s.Stats().Spilled != uint64(size) {
		t.Fatalf("nothing was spilled: %+v", s.Stats())
	}
	return data
}

func TestConcurrentGetsShareOneRestore(t *testing.T) {
	s := open(t, Config{Capacity: 8 << 20, SpillDirs: []string{filepath.Join(t.TempDir(), "spill")}})
	data := spilled(t, s, 6<<20)
	var wg sync.WaitGroup
	for c := range uint32(8) {
		wg.Go(func() {
			got := make(chan error, 1)
			s.Get(c, id(1), func(off, size uint64, err error) {
				if err == nil && !bytes.Equal(s.Bytes(off, size), data) {
					err = errors.New("wrong bytes")
				}
				got <- err
			})
			if err := <-got; err != nil {
				t.Errorf("client %d: %v", c, err)
			}
		})
	}
	wg.Wait()
	if n := s.Stats().RestoredObjects; n != 1 {
		t.Errorf("%d restores", n)
	}
	for c := range uint32(8) {
		s.Unpin(c, id(1), 1)
	}
	s.Delete(id(1), id(2))
	wait(t, "all memory to be free", func() bool { return s.Stats().Used == 0 })
	if st := s.Stats(); st.Spilled != 0 {
		t.Errorf("left: %+v", st)
	}
}

func TestDeleteDuringRestore(t *testing.T) {
	for range 20 {
		s := open(t, Config{Capacity: 8 << 20, SpillDirs: []string{filepath.Join(t.TempDir(), "spill")}})
		spilled(t, s, 6<<20)
		got := make(chan error, 1)
		s.Get(3, id(1), func(_, _ uint64, err error) { got <- err })
		s.Delete(id(1))
		if err := <-got; err == nil {
			s.Unpin(3, id(1), 1) // the restore was faster
		} else if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		s.Delete(id(2))
		wait(t, "all memory to be free", func() bool { return s.Stats().Used == 0 })
		s.mu.Lock()
		if len(s.table.zombies) != 0 || len(s.table.alloc.free) == 0 {
			t.Errorf("%d zombies", len(s.table.zombies))
		}
		s.mu.Unlock()
	}
}

func TestClientThatDiesDuringARestoreHoldsNothing(t *testing.T) {
	s := open(t, Config{Capacity: 8 << 20, SpillDirs: []string{filepath.Join(t.TempDir(), "spill")}, FullGrace: time.Minute})
	spilled(t, s, 6<<20)
	s.Get(9, id(2), func(_, _ uint64, err error) { // holds the memory that 1 needs
		if err != nil {
			t.Error(err)
		}
	})
	got := make(chan error, 1)
	s.Get(3, id(1), func(_, _ uint64, err error) { got <- err })
	s.ReleaseClient(3)
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("the dead client's Get: %v", err)
	}
	s.Unpin(9, id(2), 1)
	s.Delete(id(1), id(2))
	wait(t, "all memory to be free", func() bool { return s.Stats().Used == 0 })
}

func TestRangeReadsSpilledObjectsInPlace(t *testing.T) {
	s := open(t, Config{Capacity: 8 << 20, SpillDirs: []string{filepath.Join(t.TempDir(), "spill")}})
	data := spilled(t, s, 6<<20)
	for _, c := range [][2]uint64{{0, 10}, {1 << 20, 2 << 20}, {6<<20 - 5, 100}, {7 << 20, 1}} {
		got, size, release, err := s.Range(id(1), c[0], c[1])
		if err != nil || size != 6<<20 {
			t.Fatalf("%v: %d %v", c, size, err)
		}
		lo, hi := min(c[0], size), min(c[0]+c[1], size)
		if !bytes.Equal(got, data[lo:hi]) {
			t.Errorf("%v: wrong bytes", c)
		}
		release()
	}
	if s.Stats().RestoredObjects != 0 {
		t.Error("it was restored")
	}
	got, _, release, err := s.Range(id(2), 3, 4)
	if err != nil || len(got) != 4 {
		t.Fatal(err)
	}
	release()
}

// TestStoreAgainstModel does random things to a small store and compares what
// it reads with what was written.
func TestStoreAgainstModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(Config{Capacity: 1 << 20, SpillDirs: []string{filepath.Join(dir, "spill")}, FullGrace: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		type pin struct {
			client uint32
			id     spec.ObjectID
		}
		content, pins := map[byte][]byte{}, []pin{}
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			n := byte(rapid.IntRange(1, 6).Draw(t, "object"))
			client := uint32(rapid.IntRange(1, 2).Draw(t, "client"))
			switch rapid.IntRange(0, 4).Draw(t, "op") {
			case 0, 1:
				data := bytes.Repeat([]byte{n, byte(i)}, rapid.IntRange(1, 200<<10).Draw(t, "half size"))
				r := create(s, client, id(n), uint64(len(data)))
				if (content[n] != nil) != errors.Is(r.err, ErrExists) {
					t.Fatalf("create %d: %v", n, r.err)
				}
				if r.err == nil {
					copy(s.Bytes(r.a.Offset, uint64(len(data))), data)
					if _, err := s.Seal(client, id(n), true); err != nil {
						t.Fatal(err)
					}
					content[n] = data
				}
			case 2:
				got := make(chan error, 1)
				s.Get(client, id(n), func(off, size uint64, err error) {
					if err == nil && !bytes.Equal(s.Bytes(off, size), content[n]) {
						err = errors.New("wrong bytes")
					}
					got <- err
				})
				err := <-got
				switch {
				case err == nil:
					pins = append(pins, pin{client, id(n)})
				case content[n] == nil && errors.Is(err, ErrUnknown), errors.Is(err, ErrFull):
				default:
					t.Fatalf("get %d: %v", n, err)
				}
			case 3:
				s.Delete(id(n))
				delete(content, n)
			case 4:
				if len(pins) > 0 {
					s.Unpin(pins[0].client, pins[0].id, 1)
					pins = pins[1:]
				}
			}
		}
		s.ReleaseClient(1)
		s.ReleaseClient(2)
		for n := range content {
			s.Delete(id(n))
		}
		st := s.Stats() // what is being spilled still goes a little later
		for end := time.Now().Add(10 * time.Second); st.Used != 0 && time.Now().Before(end); st = s.Stats() {
			time.Sleep(time.Millisecond)
		}
		if st.Used != 0 || st.Spilled != 0 || st.Objects != 0 {
			t.Fatalf("left: %+v", st)
		}
	})
}
