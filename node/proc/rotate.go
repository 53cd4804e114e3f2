package proc

import (
	"fmt"
	"os"
)

// Bounds of one log file and its predecessors: a printer of a gigabyte leaves
// the newest 320 MiB.
const (
	rotateBytes = 64 << 20
	rotateKeep  = 4
)

// rotating is a log file that is moved aside when it is full: name, name.1,
// … name.4. It is made at the first write, so that a silent worker leaves no file.
type rotating struct {
	name string
	max  int64
	keep int
	file *os.File
	size int64
	err  error
}

func newRotating(name string) *rotating {
	return &rotating{name: name, max: rotateBytes, keep: rotateKeep}
}

// Write appends b. After an error (a full disk) everything is dropped: a log
// must not stop the worker that prints.
func (r *rotating) Write(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.file == nil || r.size+int64(len(b)) > r.max && r.size > 0 {
		if r.err = r.open(); r.err != nil {
			return 0, r.err
		}
	}
	n, err := r.file.Write(b)
	r.size += int64(n)
	r.err = err
	return n, err
}

func (r *rotating) open() error {
	if r.file != nil {
		_ = r.file.Close()
		for i := r.keep; i > 0; i-- {
			from := r.name
			if i > 1 {
				from = fmt.Sprintf("%s.%d", r.name, i-1)
			}
			_ = os.Rename(from, fmt.Sprintf("%s.%d", r.name, i))
		}
	}
	f, err := os.OpenFile(r.name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	r.file, r.size = f, 0
	if info, err := f.Stat(); err == nil {
		r.size = info.Size()
	}
	return nil
}

func (r *rotating) Close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}
