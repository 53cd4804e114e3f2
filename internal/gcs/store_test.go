package gcs_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/gcs"
	"ray/internal/gcs/storetest"
)

func TestMemory(t *testing.T) {
	m := gcs.NewMemory()
	storetest.Run(t, func() gcs.Store { return m })
}

func TestBolt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "gcs.db")
	storetest.Run(t, func() gcs.Store {
		s, err := gcs.OpenBolt(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestBoltLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gcs.db")
	s, err := gcs.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gcs.OpenBolt(path); err == nil || !strings.Contains(err.Error(), "in use by another head") {
		t.Fatalf("second opening: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Load(); !errors.Is(err, gcs.ErrClosed) {
		t.Fatalf("Load after Close: %v", err)
	}
}

// flaky fails commits while broken is set.
type flaky struct {
	*gcs.Memory
	broken bool
}

func (f *flaky) Commit(w []gcs.Write, term uint64) error {
	if f.broken {
		return errors.New("no space left on device")
	}
	return f.Memory.Commit(w, term)
}

func TestCommitterOrderAndFailure(t *testing.T) {
	m := gcs.NewMemory()
	_, term, _ := m.Load()
	f := &flaky{Memory: m, broken: true}
	var seen []string
	note := func(name string) func(error) {
		return func(err error) {
			if err != nil {
				name += "!"
			}
			seen = append(seen, name)
		}
	}
	faults := 0
	c := gcs.NewCommitter(f, term, func(error) { faults++ })
	got := make(chan struct{})
	put := func(key string) []gcs.Write { return []gcs.Write{{Table: "t", Key: key, Value: []byte(key)}} }
	c.Add(put("a"), true, func(err error) {
		note("a")(err)
		f.broken = false // on the committer's goroutine, as Commit is
		close(got)
	})
	<-got
	c.Add(put("b"), false, note("b"))
	c.Add(put("c"), true, note("c"))
	c.Add(nil, false, note("d"))
	c.Close()
	c.Add(nil, false, note("e"))
	if text := strings.Join(seen, " "); text != "a! b c d e!" {
		t.Errorf("order %q", text)
	}
	rows, _, _ := m.Load()
	if len(rows["t"]) != 3 || faults != 1 {
		t.Errorf("rows %v, faults %d: a write that failed once is stored later", rows, faults)
	}
}
