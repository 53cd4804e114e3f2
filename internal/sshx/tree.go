package sshx

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// errOutside is an archive entry that points out of its directory.
var errOutside = errors.New("the archive names a file outside its directory")

// writeTree packs the file or directory at root. A file is packed under name,
// a directory's contents under their own paths, without what is there already.
// Large files of which another version is there go into later, unless that is nil.
func writeTree(ctx context.Context, w io.Writer, root, name string, filter Filter, there stamps, later *[]part) error {
	tw := tar.NewWriter(w)
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if err := writeEntry(tw, root, name, info); err != nil {
			return err
		}
		return tw.Close()
	}
	r := rulesOf(filter)
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if rel != "." && r.out(rel, d.IsDir()) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			r.addFiles(p, rel, filter.Ignore)
		}
		info, err := d.Info()
		if err != nil || there.same(rel, info) {
			return err
		}
		if _, have := there[rel]; have && later != nil && info.Mode().IsRegular() && info.Size() >= partsFrom {
			*later = append(*later, partOf(p, rel, info))
			return nil
		}
		return writeEntry(tw, p, rel, info)
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

// writeFiles packs files by their names there.
func writeFiles(w io.Writer, files []part) error {
	tw := tar.NewWriter(w)
	for _, f := range files {
		info, err := os.Stat(f.path)
		if err != nil {
			return err
		}
		if err := writeEntry(tw, f.path, f.rel, info); err != nil {
			return err
		}
	}
	return tw.Close()
}

// addFiles reads the pattern files of one directory.
func (r *rules) addFiles(dir, rel string, names []string) {
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		r.addFile(rel, f)
		_ = f.Close()
	}
}

func writeEntry(tw *tar.Writer, p, name string, info fs.FileInfo) error {
	link := ""
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		var err error
		if link, err = os.Readlink(p); err != nil {
			return err
		}
	case !info.Mode().IsRegular() && !info.IsDir():
		return nil // sockets, pipes and devices stay behind
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Format = tar.FormatPAX // has times to the nanosecond, by which a next copy knows what has changed
	// Owners differ between machines; the receiver is the owner.
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = name, 0, 0, "", ""
	if info.IsDir() {
		h.Name += "/"
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(tw, f, h.Size); err != nil {
		return fmt.Errorf("%s changed while it was copied: %w", p, err)
	}
	return nil
}

// readTree unpacks an archive into dir, which is made.
func readTree(ctx context.Context, r io.Reader, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tr := tar.NewReader(r)
	modes := map[string]fs.FileMode{}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // padding, so that the sender ends in peace
			return errors.Join(err, setModes(modes))
		}
		if err != nil {
			return err
		}
		rel := filepath.Clean(filepath.FromSlash(h.Name))
		if filepath.IsAbs(rel) || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return fmt.Errorf("%w: %s", errOutside, h.Name)
		}
		if err := readEntry(tr, h, filepath.Join(dir, rel)); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir && rel != "." {
			modes[filepath.Join(dir, rel)] = fs.FileMode(h.Mode).Perm()
		}
	}
}

// setModes gives directories their permissions once all is in them: one that
// may not be written to is filled as well.
func setModes(modes map[string]fs.FileMode) error {
	var errs []error
	paths := slices.Sorted(maps.Keys(modes))
	for _, p := range slices.Backward(paths) {
		errs = append(errs, os.Chmod(p, modes[p]))
	}
	return errors.Join(errs...)
}

// readOne unpacks an archive of one file to the path p.
func readOne(r io.Reader, p string) error {
	tr := tar.NewReader(r)
	h, err := tr.Next()
	if err == nil {
		err = readEntry(tr, h, p)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return err
}

func readEntry(tr *tar.Reader, h *tar.Header, p string) error {
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(p, mode|0o700)
	case tar.TypeSymlink:
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		_ = os.Remove(p)
		return os.Symlink(h.Linkname, p)
	case tar.TypeReg:
		if err := replaceFile(p, tr, mode); err != nil {
			return err
		}
		return os.Chtimes(p, time.Time{}, h.ModTime)
	}
	return nil
}

// replaceFile writes a file beside its place and moves it there, so that a
// reader sees the old or the new one and never a part.
func replaceFile(p string, r io.Reader, mode fs.FileMode) error {
	return replaceWith(p, mode, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// replaceWith is replaceFile with what write writes.
func replaceWith(p string, mode fs.FileMode, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(p), ".ray-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), p)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
