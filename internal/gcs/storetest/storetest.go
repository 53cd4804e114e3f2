// Package storetest is the conformance suite of gcs.Store implementations.
// Only tests import it.
package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ray/internal/gcs"
)

// Run checks a store that is empty at first. open is called again after each
// Close and must give the same rows back.
func Run(t *testing.T, open func() gcs.Store) {
	s := open()
	rows, term := load(t, s)
	if len(rows) != 0 || term == 0 {
		t.Fatalf("a new store holds %v, term %d", rows, term)
	}
	commit(t, s, term,
		gcs.Write{Table: "a", Key: "1", Value: []byte("one")},
		gcs.Write{Table: "a", Key: "2", Value: []byte("two")},
		gcs.Write{Table: "b", Key: "\x00\xff", Value: []byte{}},
		gcs.Write{Table: "a", Key: "2"},
		gcs.Write{Table: "a", Key: "absent"},
		gcs.Write{Table: "a", Key: "1", Value: []byte("uno")})
	closeStore(t, s)

	s = open()
	defer func() { closeStore(t, s) }()
	rows, next := load(t, s)
	want := gcs.Rows{"a": {"1": []byte("uno")}, "b": {"\x00\xff": []byte{}}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Fatalf("rows after reopening (-want +got):\n%s", diff)
	}
	if next <= term {
		t.Fatalf("term %d after %d: every Load must lead anew", next, term)
	}
	if err := s.Commit([]gcs.Write{{Table: "a", Key: "3", Value: []byte("x")}}, term); !errors.Is(err, gcs.ErrStaleTerm) {
		t.Fatalf("commit of an older term: %v", err)
	}
	again, _ := load(t, s)
	if diff := cmp.Diff(want, again); diff != "" {
		t.Fatalf("a refused commit changed rows:\n%s", diff)
	}
	// What Load gave is the caller's own.
	again["a"]["1"][0] = 'X'
	third, _ := load(t, s)
	if string(third["a"]["1"]) != "uno" {
		t.Fatal("rows are shared with the store")
	}
}

func load(t *testing.T, s gcs.Store) (gcs.Rows, uint64) {
	t.Helper()
	rows, term, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return rows, term
}

func commit(t *testing.T, s gcs.Store, term uint64, writes ...gcs.Write) {
	t.Helper()
	if err := s.Commit(writes, term); err != nil {
		t.Fatal(err)
	}
}

func closeStore(t *testing.T, s gcs.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
