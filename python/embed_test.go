package python

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestExtract(t *testing.T) {
	root := t.TempDir()
	var group sync.WaitGroup
	dirs := make([]string, 4)
	for i := range dirs {
		group.Go(func() {
			dir, err := Extract(root)
			if err != nil {
				t.Error(err)
			}
			dirs[i] = dir
		})
	}
	group.Wait()
	for _, dir := range dirs {
		if dir != dirs[0] {
			t.Fatalf("directories differ: %v", dirs)
		}
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 1 {
		t.Fatalf("left in the root: %v, %v; want the package alone", entries, err)
	}
	err = filepath.WalkDir(dirs[0], func(name string, _ os.DirEntry, err error) error {
		if strings.Contains(name, "__pycache__") {
			t.Errorf("bytecode was extracted: %s", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestExtractRepairs(t *testing.T) {
	root := t.TempDir()
	dir, err := Extract(root)
	if err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(dir, "ray", "_core", "__init__.py")
	if err := os.Remove(victim); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(victim); err != nil {
		t.Errorf("a damaged copy was not repaired: %v", err)
	}
}
