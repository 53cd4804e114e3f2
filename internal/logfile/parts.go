package logfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// record is the file beside a log that tells how many bytes are gone for good.
// Whoever moves the parts holds its lock, and whoever opens them shares it.
func record(name string) string {
	return filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".rotated")
}

func part(name string, i int) string {
	if i == 0 {
		return name
	}
	return fmt.Sprintf("%s.%d", name, i)
}

// shift makes every part one older and removes what is older than keep.
func shift(name string, keep int) error {
	r, err := os.OpenFile(record(name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer r.Close() // and with it the lock
	if err := syscall.Flock(int(r.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	gone := dropped(r)
	count := 0
	for ; exists(part(name, count)); count++ {
	}
	for i := count - 1; i >= keep; i-- { // several, if keep was larger before
		info, err := os.Stat(part(name, i))
		if err == nil {
			err = os.Remove(part(name, i))
		}
		if err != nil {
			return err
		}
		gone += info.Size()
	}
	if _, err := r.WriteAt(fmt.Appendf(nil, "%020d\n", gone), 0); err != nil {
		return err
	}
	for i := min(count, keep) - 1; i >= 0; i-- {
		if err := os.Rename(part(name, i), part(name, i+1)); err != nil {
			return err
		}
	}
	return nil
}

func dropped(r *os.File) int64 {
	text := make([]byte, 20)
	n, _ := r.ReadAt(text, 0) // a new record is empty
	gone, _ := strconv.ParseInt(strings.TrimSpace(string(text[:n])), 10, 64)
	return gone
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Remove removes a log with all its parts; none is no error.
func Remove(name string) error {
	var errs []error
	for i := 0; i == 0 || exists(part(name, i)); i++ {
		errs = append(errs, missingIsFine(os.Remove(part(name, i))))
	}
	return errors.Join(append(errs, missingIsFine(os.Remove(record(name))))...)
}

func missingIsFine(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Internal tells whether a file's name is that of a record, which is nothing
// for people.
func Internal(name string) bool {
	base := filepath.Base(name)
	return strings.HasPrefix(base, ".") && strings.HasSuffix(base, ".rotated")
}

// View is a log as it was when it was opened, its parts as one.
type View struct {
	// Start is the offset of the first byte that is still there, End that
	// behind the last one.
	Start, End int64
	parts      []piece // oldest first
}

type piece struct {
	file *os.File
	at   int64 // offset of its first byte
}

// Open opens a log for reading; an error is fs.ErrNotExist if there is none.
func Open(name string) (*View, error) {
	for {
		v, settled, err := open(name)
		if settled || err != nil {
			return v, err
		}
		v.Close() // its first move came in between
	}
}

func open(name string) (v *View, settled bool, err error) {
	v = &View{}
	r, err := os.Open(record(name))
	if err == nil {
		defer r.Close()
		if err := syscall.Flock(int(r.Fd()), syscall.LOCK_SH); err != nil {
			return nil, false, err
		}
		v.Start = dropped(r)
	}
	var files []*os.File
	for i := 0; ; i++ {
		f, err := os.Open(part(name, i))
		if err != nil {
			if i == 0 && errors.Is(err, fs.ErrNotExist) && exists(part(name, 1)) {
				continue // moved, and nothing was written since
			}
			if len(files) == 0 {
				return nil, true, err
			}
			break
		}
		files = append(files, f)
	}
	v.End = v.Start
	for i := len(files) - 1; i >= 0; i-- {
		info, err := files[i].Stat()
		if err != nil {
			v.Close()
			return nil, true, err
		}
		v.parts = append(v.parts, piece{files[i], v.End})
		v.End += info.Size()
	}
	return v, r != nil || !exists(record(name)), nil
}

// ReadAt reads from an offset of the whole log. Offsets before Start read
// from Start on; the count is of bytes, io.EOF comes at End.
func (v *View) ReadAt(b []byte, offset int64) (n int, err error) {
	offset = max(offset, v.Start)
	for i, p := range v.parts {
		end := v.End
		if i+1 < len(v.parts) {
			end = v.parts[i+1].at
		}
		for n < len(b) && offset < end {
			want := min(int64(len(b)-n), end-offset)
			k, err := p.file.ReadAt(b[n:n+int(want)], offset-p.at)
			n += k
			offset += int64(k)
			if k == 0 {
				return n, err
			}
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Close closes the parts.
func (v *View) Close() {
	for _, p := range v.parts {
		_ = p.file.Close()
	}
}
