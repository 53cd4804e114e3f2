package sshx

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Of a directory that is here already comes what differs: files, permissions
// and links, and of a large file that has changed its changed part.
func TestDownAgain(t *testing.T) {
	h, program := withRay(t)
	there, here := t.TempDir(), filepath.Join(t.TempDir(), "here it is")
	at := time.Unix(1_700_000_000, 123456789)
	large, small := bytesOf(3, 4<<20), bytesOf(4, 50_000)
	dir := filepath.Join(there, "a dir\nand more")
	if err := os.MkdirAll(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "large"), large, 0o640, at)
	put(t, filepath.Join(dir, "small"), small, 0o755|os.ModeSetuid, at)
	put(t, filepath.Join(there, "left.out"), small, 0o644, at)
	if err := os.Symlink("small", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	down := func() (got int) {
		t.Helper()
		h.got = 0
		h.runs.Store(0)
		if err := downloadStream(t.Context(), h, there, here, Filter{Exclude: []string{"*.out"}}); err != nil {
			t.Fatal(err)
		}
		return h.got
	}
	check := func() {
		t.Helper()
		is(t, filepath.Join(here, "a dir\nand more", "large"), large, 0o640, at)
		is(t, filepath.Join(here, "a dir\nand more", "small"), small, 0o755, at)
		if _, err := os.Lstat(filepath.Join(here, "left.out")); !os.IsNotExist(err) {
			t.Errorf("what is excluded came: %v", err)
		}
	}
	if got := down(); got < len(large)+len(small) {
		t.Errorf("at first %d bytes came", got)
	}
	check()
	if got := down(); got > 2000 || h.runs.Load() > 2 {
		t.Errorf("with nothing changed %d bytes came by %d commands", got, h.runs.Load())
	}

	large[1<<20]++
	at = at.Add(time.Second)
	put(t, filepath.Join(dir, "large"), large, 0o640, at)
	put(t, filepath.Join(here, "a dir\nand more", "small"), []byte("changed here"), 0o644, at)
	put(t, filepath.Join(dir, "small"), small, 0o755, at)
	if err := os.Remove(filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("large", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := down(); got > 2*blockSize+len(small)+30_000 {
		t.Errorf("%d bytes came for a changed one and a file of %d", got, len(small))
	}
	check()
	if link, err := os.Readlink(filepath.Join(here, "a dir\nand more", "link")); err != nil || link != "large" {
		t.Errorf("the link leads to %q, %v", link, err)
	}
	if info, err := os.Stat(filepath.Join(here, "a dir\nand more", "empty")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info, err)
	}

	// A host that has not this program, and one that cannot list its files.
	large[0]++
	put(t, filepath.Join(dir, "large"), large, 0o640, at.Add(time.Second))
	at = at.Add(time.Second)
	put(t, filepath.Join(dir, "small"), small, 0o755, at)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if got := down(); got < len(large) {
		t.Errorf("%d bytes came", got)
	}
	check()
	find := "#!/bin/sh\ncase \"$*\" in *printf*) exit 1;; esac\nexec /usr/bin/find \"$@\"\n"
	if err := os.WriteFile(filepath.Join(filepath.Dir(program), "find"), []byte(find), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := down(); got < len(large)+len(small) {
		t.Errorf("%d bytes came", got)
	}
	check()
}
