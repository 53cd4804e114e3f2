// Package python carries the Python package `ray` inside the binary, so that
// a machine that has the binary has all that its workers import. Only cmd/ray
// imports it.
package python

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed all:ray
var files embed.FS

// Extract makes sure that the package lies under root and returns the
// directory to put into sys.path: root/python-<hash of the content>. One that
// is already there, whole, is used again; concurrent calls are safe.
func Extract(root string) (string, error) {
	names, sum, err := contents()
	if err != nil {
		return "", fmt.Errorf("embedded Python package: %w", err)
	}
	dir := filepath.Join(root, "python-"+sum)
	if whole(dir, names) {
		return dir, nil
	}
	temp, err := os.MkdirTemp(root, ".python-*")
	if err != nil {
		return "", fmt.Errorf("extract the Python package: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if err := write(temp, names); err != nil {
		return "", fmt.Errorf("extract the Python package: %w", err)
	}
	return dir, install(temp, dir, names)
}

// install moves a written copy into place. If something is there it was
// damaged, or another process has just put the same content there.
func install(temp, dir string, names []string) error {
	for range 3 {
		err := os.Rename(temp, dir)
		if err == nil || whole(dir, names) {
			return nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("extract the Python package: %w", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("replace a damaged Python package: %w", err)
		}
	}
	return fmt.Errorf("extract the Python package: %s changes all the time", dir)
}

// contents lists the files that workers need and hashes them.
func contents() (names []string, sum string, err error) {
	hash := sha256.New()
	err = fs.WalkDir(files, "ray", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path.Base(name) == "__pycache__" {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".pyc") {
			return nil
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		names = append(names, name)
		_, _ = fmt.Fprintf(hash, "%s %d\n", name, len(text))
		_, _ = hash.Write(text)
		return nil
	})
	return names, hex.EncodeToString(hash.Sum(nil))[:16], err
}

// whole tells whether every file is there with its size. It does not read
// them: the directory is private and written in one step.
func whole(dir string, names []string) bool {
	for _, name := range names {
		have, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return false
		}
		want, err := fs.Stat(files, name)
		if err != nil || have.Size() != want.Size() {
			return false
		}
	}
	return true
}

func write(dir string, names []string) error {
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
