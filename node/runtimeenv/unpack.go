package runtimeenv

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
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
		names := make([]string, len(archive.File))
		for i, f := range archive.File {
			names[i] = f.Name
		}
		top = commonTop(names)
	}
	for _, f := range archive.File {
		if err := safe(f.Name); err != nil {
			return err
		}
		name := strings.TrimPrefix(f.Name, top)
		if name == "" {
			continue
		}
		if err := extract(f, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	return nil
}

// unwheel writes what a wheel would install as importable files under dir.
// Scripts and headers of the wheel are left out.
func unwheel(data []byte, dir string) error {
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("not a wheel: %w", err)
	}
	for _, f := range archive.File {
		name := f.Name
		if first, rest, ok := strings.Cut(name, "/"); ok && strings.HasSuffix(first, ".data") {
			kind, inside, _ := strings.Cut(rest, "/")
			if kind != "purelib" && kind != "platlib" || inside == "" {
				continue
			}
			name = inside
		}
		if err := safe(name); err != nil {
			return err
		}
		if err := extract(f, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	return nil
}

// untar writes the files of a gzip-compressed tar archive under dir.
func untar(data []byte, dir string, strip bool) error {
	names := []string{}
	err := eachInTar(data, func(h *tar.Header, _ io.Reader) error {
		if h.Name == "./" {
			return nil
		}
		names = append(names, strings.TrimPrefix(h.Name, "./"))
		return nil
	})
	if err != nil {
		return err
	}
	top := ""
	if strip {
		top = commonTop(names)
	}
	return eachInTar(data, func(h *tar.Header, r io.Reader) error {
		if h.Name == "./" {
			return nil
		}
		if err := safe(h.Name); err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(h.Name, "./"), top)
		if name == "" {
			return nil
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		switch h.Typeflag {
		case tar.TypeDir:
			return os.MkdirAll(path, 0o755)
		case tar.TypeReg:
			return write(r, path, os.FileMode(h.Mode).Perm())
		}
		return fmt.Errorf("unpack %s: it is neither a file nor a folder", h.Name)
	})
}

func eachInTar(data []byte, f func(*tar.Header, io.Reader) error) error {
	plain, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("not a gzip archive: %w", err)
	}
	r := tar.NewReader(plain)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = f(h, r)
		}
		if err != nil {
			return err
		}
	}
}

// safe refuses names that would leave the directory.
func safe(name string) error {
	if !filepath.IsLocal(filepath.FromSlash(strings.TrimSuffix(name, "/"))) {
		return fmt.Errorf("archive has an unsafe name %q", name)
	}
	return nil
}

// commonTop gives the one folder that everything lies in, "" if there is none.
func commonTop(names []string) string {
	top := ""
	for _, name := range names {
		first, _, ok := strings.Cut(name, "/")
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
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	return write(in, path, f.Mode().Perm())
}

// write makes a file that its owner can always change.
func write(in io.Reader, path string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if mode == 0 {
		mode = 0o644
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode|0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil { //nolint:gosec // the archive is the user's own
		_ = out.Close()
		return err
	}
	return out.Close()
}
