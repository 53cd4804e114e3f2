package runtimeenv

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// unzip writes an archive's files under dir. Names that would leave dir are
// refused. strip takes a single common top folder away, as archives that a
// user made by hand have one.
func unzip(data []byte, dir string, strip bool) error {
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("not a zip archive: %w", err)
	}
	top := ""
	if strip {
		top = commonTop(archive.File)
	}
	for _, f := range archive.File {
		name := strings.TrimPrefix(f.Name, top)
		if name == "" {
			continue
		}
		if !filepath.IsLocal(filepath.FromSlash(strings.TrimSuffix(name, "/"))) {
			return fmt.Errorf("archive has an unsafe name %q", f.Name)
		}
		if err := extract(f, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	return nil
}

func commonTop(files []*zip.File) string {
	top := ""
	for _, f := range files {
		first, _, ok := strings.Cut(f.Name, "/")
		if !ok || top != "" && first+"/" != top {
			return ""
		}
		top = first + "/"
	}
	return top
}

func extract(f *zip.File, path string) error {
	if strings.HasSuffix(f.Name, "/") {
		return os.MkdirAll(path, 0o755)
	}
	if !f.Mode().IsRegular() {
		return fmt.Errorf("it is neither a file nor a folder (mode %s)", f.Mode())
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	mode := f.Mode().Perm() | 0o600
	if f.Mode().Perm() == 0 {
		mode = 0o644
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil { //nolint:gosec // the archive is the user's own
		_ = out.Close()
		return err
	}
	return out.Close()
}
