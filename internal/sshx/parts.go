package sshx

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// partsFrom is the size, in bytes, from which a file that the host has otherwise
// is sent by its parts. Two more commands cost less than sending that.
const partsFrom = 1 << 20

// part is a file of which the host may have an earlier version.
type part struct {
	path, rel string // here, and below the directory there
	mode      fs.FileMode
	changed   time.Time
}

func partOf(path, rel string, info fs.FileInfo) part {
	return part{path, rel, info.Mode().Perm(), info.ModTime()}
}

// sendParts sends what has changed of files below a directory of the host, by
// this program there. What it gives back has to be sent whole: the program is
// not there, or a file is not.
func sendParts(ctx context.Context, s Host, dir string, files []part) (whole []part) {
	if len(files) == 0 {
		return nil
	}
	var names, signs bytes.Buffer
	for _, f := range files {
		names.WriteString(f.rel + "\x00")
	}
	q := quotePath(dir)
	if err := s.Run(ctx, Command{Line: ourRay("sign " + q), Stdin: &names, Stdout: &signs}); err != nil {
		return files
	}
	pr, pw := io.Pipe()
	ended := make(chan error, 1)
	var asked []part
	go func() {
		err := writeParts(ctx, pw, files, &signs, func(f part, sent bool) {
			if sent {
				asked = append(asked, f)
			} else {
				whole = append(whole, f)
			}
		})
		_ = pw.CloseWithError(err)
		ended <- err
	}()
	var done strings.Builder
	err := s.Run(ctx, Command{Line: ourRay("patch " + q), Stdin: pr, Stdout: &done})
	_ = pr.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	werr := <-ended
	n, nerr := strconv.Atoi(strings.TrimSpace(done.String()))
	switch {
	case werr != nil && !errors.Is(werr, io.ErrClosedPipe), nerr != nil, n > len(asked):
		return files // what was made is found the same by its stamp the next time
	}
	return append(whole, asked[n:]...)
}

// ourRay is a command of this program on the host. Upstream's, which may be what
// PATH has there, is not asked: it takes seconds to say that it knows no such thing.
func ourRay(args string) string {
	return "case $(command -v ray) in */.ray/bin/ray) ray __delta " + args + ";; *) exit 127;; esac"
}

// writeParts writes the deltas of files by their signatures, in the same order.
func writeParts(ctx context.Context, w io.Writer, files []part, signs io.Reader, tell func(part, bool)) error {
	in, out := bufio.NewReader(signs), bufio.NewWriterSize(w, blockSize)
	for _, f := range files {
		n, err := binary.ReadUvarint(in)
		if err != nil {
			return fmt.Errorf("the host told fewer signatures than files: %w", err)
		}
		signed := make([]byte, min(n, 1<<30))
		if _, err := io.ReadFull(in, signed); err != nil {
			return fmt.Errorf("the host's signatures end early: %w", err)
		}
		tell(f, len(signed) > 0)
		if len(signed) == 0 {
			continue
		}
		if err := writeDelta(ctx, out, f, bytes.NewReader(signed)); err != nil {
			return err
		}
	}
	return out.Flush()
}

// writeDelta writes what the file is called and how it is, and its delta.
func writeDelta(ctx context.Context, w io.Writer, p part, signed io.Reader) error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	head := binary.AppendUvarint(nil, uint64(len(p.rel)))
	head = append(head, p.rel...)
	head = binary.AppendUvarint(head, uint64(p.mode))
	head = binary.AppendVarint(head, p.changed.UnixNano())
	if _, err := w.Write(head); err != nil {
		return err
	}
	return Diff(w, untilDone{ctx, f}, signed)
}

type untilDone struct {
	ctx context.Context
	io.Reader
}

func (r untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// SignParts is the host's side: it reads names below dir, each ended by a zero
// byte, and writes the length of each file's signature and the signature, 0 for
// what is no file.
func SignParts(w io.Writer, dir string, names io.Reader) error {
	text, err := io.ReadAll(names)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(text), "\x00"), "\x00") {
		var sign bytes.Buffer
		if err := signFile(&sign, filepath.Join(dir, name)); err != nil {
			sign.Reset()
		}
		if _, err := w.Write(append(binary.AppendUvarint(nil, uint64(sign.Len())), sign.Bytes()...)); err != nil {
			return err
		}
	}
	return nil
}

func signFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file: %w", path, err)
	}
	return Sign(w, f, info.Size())
}

// PatchParts is the host's side: it makes new files below dir of the old ones
// and of the deltas that it reads, each at once, until they end. It gives the
// number that are made.
func PatchParts(dir string, deltas io.Reader) (n int, err error) {
	in := bufio.NewReaderSize(deltas, blockSize)
	for ; ; n++ {
		p, err := readPart(in)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if !filepath.IsLocal(p.rel) {
			return n, fmt.Errorf("%w: %s", errOutside, p.rel)
		}
		if err := patchFile(filepath.Join(dir, p.rel), p, in); err != nil {
			return n, err
		}
	}
}

// readPart reads what stands before a delta; io.EOF is the end of all.
func readPart(in *bufio.Reader) (p part, err error) {
	size, err := binary.ReadUvarint(in)
	if err != nil {
		return p, err
	}
	name := make([]byte, min(size, 1<<16))
	_, err = io.ReadFull(in, name)
	mode, merr := binary.ReadUvarint(in)
	changed, cerr := binary.ReadVarint(in)
	if err := errors.Join(err, merr, cerr); err != nil {
		return p, fmt.Errorf("the name of a file is cut off: %s", err)
	}
	return part{rel: string(name), mode: fs.FileMode(mode).Perm(), changed: time.Unix(0, changed)}, nil
}

func patchFile(path string, p part, delta io.Reader) error {
	old, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }()
	if err := replaceWith(path, p.mode, func(w io.Writer) error { return Patch(w, old, delta) }); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, p.changed)
}
