package sshx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// uploadStream copies by one command, one stream for any number of files, and by
// two more what has changed of large ones.
func uploadStream(ctx context.Context, s Host, local, remote string, filter Filter) error {
	info, err := os.Stat(local)
	if err != nil {
		return err
	}
	name, dir := path.Base(remote), path.Dir(remote)
	wrap := func(err error) error {
		if err != nil {
			err = fmt.Errorf("copying %s to %s:%s: %w", local, s, remote, err)
		}
		return err
	}
	if !info.IsDir() {
		one := []part{partOf(local, name, info)}
		if info.Size() >= partsFrom && len(sendParts(ctx, s, dir, one)) == 0 {
			return nil
		}
		return wrap(unpackThere(ctx, s, dir, func(w io.Writer) error { return writeFiles(w, one) }))
	}
	dir = remote
	var large []part
	there := stampsThere(ctx, s, dir)
	if err := unpackThere(ctx, s, dir, func(w io.Writer) error { return writeTree(ctx, w, local, name, filter, there, &large) }); err != nil {
		return wrap(err)
	}
	if whole := sendParts(ctx, s, dir, large); len(whole) > 0 {
		return wrap(unpackThere(ctx, s, dir, func(w io.Writer) error { return writeFiles(w, whole) }))
	}
	return nil
}

// unpackThere unpacks the archive that write writes into a directory of the host.
func unpackThere(ctx context.Context, s Host, dir string, write func(io.Writer) error) error {
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := write(pw)
		done <- err
		_ = pw.CloseWithError(err)
	}()
	q := quotePath(dir)
	var stderr strings.Builder
	err := s.Run(ctx, Command{Line: "mkdir -p " + q + " && tar -xpof - -C " + q, Stdin: pr, Stderr: &stderr})
	_ = pr.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if werr := <-done; werr != nil && !errors.Is(werr, io.ErrClosedPipe) {
		return werr
	}
	if err != nil {
		return fmt.Errorf("%w %s", err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// writeByCommand writes a file of the host.
func writeByCommand(ctx context.Context, s Host, remote string, data []byte, mode fs.FileMode) error {
	tmp := quotePath(remote + ".ray-new")
	line := fmt.Sprintf("umask 077; mkdir -p %s && cat > %s && chmod %o %s && mv -f %s %s",
		quotePath(path.Dir(remote)), tmp, mode.Perm(), tmp, tmp, quotePath(remote))
	var stderr strings.Builder
	err := s.Run(ctx, Command{Line: line, Stdin: strings.NewReader(string(data)), Stderr: &stderr})
	if err != nil {
		return fmt.Errorf("writing %s:%s: %w %s", s, remote, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// absent is the status by which readByCommand's command says that there is no file.
const absent = 44

// readByCommand reads a file of the host.
func readByCommand(ctx context.Context, s Host, remote string) ([]byte, error) {
	q := quotePath(remote)
	var out strings.Builder
	err := s.Run(ctx, Command{Line: fmt.Sprintf("[ -e %s ] || exit %d; cat %s", q, absent, q), Stdout: &out})
	if ExitCode(err) == absent {
		return nil, fmt.Errorf("%s:%s: %w", s, remote, fs.ErrNotExist)
	}
	return []byte(out.String()), err
}
