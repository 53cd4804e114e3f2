package sshx

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// fetchPart brings what has changed of a large file of the host, by this program
// there, and tells whether that went well; else the file is as it was.
func fetchPart(ctx context.Context, s Host, remote, local string) bool {
	info, err := os.Stat(local)
	if err != nil || !info.Mode().IsRegular() || info.Size() < partsFrom {
		return false
	}
	signed, sign := io.Pipe()
	told := make(chan struct{})
	go func() {
		defer close(told)
		_ = sign.CloseWithError(signFile(sign, local))
	}()
	deltas, sent := io.Pipe()
	made := make(chan error, 1)
	go func() {
		in := bufio.NewReaderSize(deltas, blockSize)
		p, err := readPart(in)
		if err == nil {
			err = patchFile(local, p, in)
		}
		_ = deltas.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		made <- err
	}()
	err = s.Run(ctx, Command{Line: ourRay("diff " + quotePath(remote)), Stdin: signed, Stdout: sent})
	_ = signed.CloseWithError(io.ErrClosedPipe)
	_ = sent.CloseWithError(err) // the end of the file where all went well
	<-told
	return <-made == nil && err == nil
}

// DiffFile is the host's side: it reads the signature of a file elsewhere and
// writes what makes this one of it.
func DiffFile(ctx context.Context, w io.Writer, path string, signed io.Reader) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, blockSize)
	if err := writeDelta(ctx, out, partOf(path, filepath.Base(path), info), signed); err != nil {
		return err
	}
	return out.Flush()
}
