package sshx

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// downloadStream copies from the host by one stream for any number of files.
// Into a directory that is here already comes only what differs, and of a large
// file that is here only what has changed in it.
func downloadStream(ctx context.Context, s Host, remote, local string, filter Filter) error {
	if fetchPart(ctx, s, remote, local) {
		return nil
	}
	wanted, err := choose(ctx, s, remote, filter)
	if err != nil {
		return fmt.Errorf("copying %s:%s: %w", s, remote, err)
	}
	if info, err := os.Stat(local); err == nil && info.IsDir() {
		if entries := entriesThere(ctx, s, remote); entries != nil {
			if wanted = fetchParts(ctx, s, remote, local, differing(entries, local, wanted)); len(wanted) == 0 {
				return nil
			}
		}
	}
	return fetchTree(ctx, s, remote, local, wanted)
}

// fetchTree brings a file, or of a directory the paths that are wanted: all of
// them if that is nil. Times come to the nanosecond where the host's tar can say
// them, so that a next copy knows what has changed.
func fetchTree(ctx context.Context, s Host, remote, local string, wanted []string) error {
	what := "."
	var stdin io.Reader
	if wanted != nil {
		what, stdin = "--no-recursion --null -T -", strings.NewReader(strings.Join(wanted, "\x00"))
	}
	// A directory's contents are packed under their own paths, a file under
	// its name.
	line := fmt.Sprintf("p=--format=posix; tar $p -cf /dev/null -T /dev/null 2>/dev/null || p=; "+
		"if [ -d %[1]s ]; then printf d; tar $p -cf - -C %[1]s %[2]s; else printf f; tar $p -chf - -C %[3]s -- %[4]s; fi",
		quotePath(remote), what, quotePath(path.Dir(remote)), Quote(path.Base(remote)))
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- receive(ctx, pr, local) }()
	var stderr strings.Builder
	err := s.Run(ctx, Command{Line: line, Stdin: stdin, Stdout: pw, Stderr: &stderr})
	_ = pw.CloseWithError(err)
	rerr := <-done
	if err != nil {
		return fmt.Errorf("copying %s:%s: %w %s", s, remote, err, strings.TrimSpace(stderr.String()))
	}
	return rerr
}

// receive writes what fetchTree's command sends.
func receive(ctx context.Context, r *io.PipeReader, local string) error {
	var kind [1]byte
	_, err := io.ReadFull(r, kind[:])
	switch {
	case err != nil:
	case kind[0] == 'd':
		err = readTree(ctx, r, local)
	default:
		err = readOne(r, local)
	}
	_ = r.CloseWithError(err)
	return err
}

// entry is what a host tells of a path without reading it.
type entry struct {
	path string // after ./, as choose and tar have it
	kind string // f, d, l as find writes them
	mode fs.FileMode
	size int64
	time string // seconds and nine digits
	link string // where a link leads
}

// entriesThere lists what is below a directory of the host, nothing if that is
// none or the host cannot tell.
func entriesThere(ctx context.Context, h Host, dir string) []entry {
	var out strings.Builder
	line := "cd " + quotePath(dir) + ` 2>/dev/null && find . -printf '%y %m %s %T@\0%l\0%p\0' 2>/dev/null`
	if err := h.Run(ctx, Command{Line: line, Stdout: &out}); err != nil {
		return nil
	}
	var found []entry
	fields := strings.Split(out.String(), "\x00")
	for ; len(fields) > 3; fields = fields[3:] {
		f := strings.Fields(fields[0])
		if len(f) != 4 {
			return nil
		}
		mode, err1 := strconv.ParseUint(f[1], 8, 32)
		size, err2 := strconv.ParseInt(f[2], 10, 64)
		seconds, fraction, _ := strings.Cut(f[3], ".")
		if err1 != nil || err2 != nil || len(fraction) < 9 {
			return nil
		}
		found = append(found, entry{
			path: fields[2], kind: f[0], link: fields[1],
			mode: fs.FileMode(mode) & fs.ModePerm, size: size, time: seconds + "." + fraction[:9],
		})
	}
	return found
}

// differing are the entries that are otherwise below the directory here, of
// those that are wanted: of all if that is nil.
func differing(entries []entry, local string, wanted []string) []entry {
	chosen := map[string]bool{}
	for _, p := range wanted {
		chosen[p] = true
	}
	var out []entry
	for _, e := range entries {
		if (wanted == nil || chosen[e.path]) && !e.here(filepath.Join(local, filepath.FromSlash(e.path))) {
			out = append(out, e)
		}
	}
	return out
}

// here tells whether the path is as the host has it, or nothing to be copied.
func (e entry) here(p string) bool {
	info, err := os.Lstat(p)
	switch e.kind {
	case "f":
		return err == nil && info.Mode().IsRegular() && stampOf(info) == fmt.Sprintf("%o %d %s", e.mode, e.size, e.time)
	case "d":
		return err == nil && info.IsDir() && info.Mode().Perm() == e.mode
	case "l":
		link, err := os.Readlink(p)
		return err == nil && link == e.link
	}
	return true
}

// fetchParts brings what has changed of large files, and gives the paths that
// are still wanted. Where the host cannot do that, it is asked once only.
func fetchParts(ctx context.Context, s Host, remote, local string, entries []entry) (wanted []string) {
	able := true
	for _, e := range entries {
		here := filepath.Join(local, filepath.FromSlash(e.path))
		if info, err := os.Lstat(here); able && e.kind == "f" && e.size >= partsFrom &&
			err == nil && info.Mode().IsRegular() && info.Size() >= partsFrom {
			if able = fetchPart(ctx, s, path.Join(remote, e.path), here); able {
				continue
			}
		}
		wanted = append(wanted, e.path)
	}
	return wanted
}
