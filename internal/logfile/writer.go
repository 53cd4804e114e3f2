package logfile

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// Limits bounds one log: no more than Bytes in a part, Keep parts besides the
// one that is written. Bytes 0 means no bound.
type Limits struct {
	Bytes int64
	Keep  int
}

// Defaults: a printer of a gigabyte leaves the newest 320 MiB.
const (
	defaultBytes = 64 << 20
	defaultKeep  = 4
	// longLine is how far a part may pass its bound so that a line stays whole.
	longLine = 1 << 20
)

// FromEnv gives the limits of this machine, which RAY_ROTATION_MAX_BYTES and
// RAY_ROTATION_BACKUP_COUNT set; a value that is no count is passed over.
func FromEnv() Limits {
	l := Limits{defaultBytes, defaultKeep}
	if n, err := strconv.ParseInt(os.Getenv("RAY_ROTATION_MAX_BYTES"), 10, 64); err == nil && n >= 0 {
		l.Bytes = n
	}
	if n, err := strconv.Atoi(os.Getenv("RAY_ROTATION_BACKUP_COUNT")); err == nil && n >= 0 {
		l.Keep = n
	}
	return l
}

// Writer appends to a log. The file is made at the first write: who says
// nothing leaves none. It is for one goroutine.
type Writer struct {
	name   string
	limits Limits
	file   *os.File
	size   int64
	inLine bool // the last byte did not end a line
	err    error
	std    *os.File // what always stands for the newest part, too; or nil
}

// New makes a writer of the log.
func New(name string, l Limits) *Writer { return &Writer{name: name, limits: l} }

// Write appends b and starts a new part between two lines when one is full.
// After an error (a full disk) everything is dropped: a log must not stop who writes it.
func (w *Writer) Write(b []byte) (int, error) {
	whole := len(b)
	for len(b) > 0 && w.err == nil {
		if w.err = w.Open(); w.err != nil {
			break
		}
		n := w.fits(b)
		if n == 0 {
			w.err = w.rotate()
			continue
		}
		var wrote int
		wrote, w.err = w.file.Write(b[:n])
		w.size += int64(wrote)
		w.inLine = b[n-1] != '\n'
		b = b[n:]
	}
	return whole - len(b), w.err
}

// fits tells how much of b belongs into the part that is open.
func (w *Writer) fits(b []byte) int {
	room := w.limits.Bytes - w.size
	if w.limits.Bytes == 0 || int64(len(b)) <= room {
		return len(b)
	}
	if i := bytes.LastIndexByte(b[:max(0, room)], '\n'); i >= 0 {
		return i + 1
	}
	if w.size > 0 && (!w.inLine || -room > longLine) {
		return 0
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 { // the end of a line that began here
		return i + 1
	}
	return len(b)
}

// Open makes the file if it is not open, before anything is written.
func (w *Writer) Open() error {
	if w.file != nil {
		return nil
	}
	f, err := os.OpenFile(w.name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	w.file, w.size, w.inLine = f, 0, false
	if info, err := f.Stat(); err == nil {
		w.size = info.Size()
	}
	if w.std != nil {
		fd, flags := int(w.std.Fd()), 0
		if fd > 2 { // not one that programs inherit
			flags = syscall.O_CLOEXEC
		}
		if err := syscall.Dup3(int(f.Fd()), fd, flags); err != nil {
			return fmt.Errorf("log file: %w", err)
		}
	}
	return nil
}

func (w *Writer) rotate() error {
	w.Close()
	if err := shift(w.name, w.limits.Keep); err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	return w.Open()
}

// Close closes the file; a later Write opens it again.
func (w *Writer) Close() {
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
}

// Own gives a writer of the log that std, this process's own output, goes to.
// With each new part std goes there, too, so that the last words of a crash
// are in the newest. nil if std goes somewhere else.
func Own(name string, std *os.File, l Limits) *Writer {
	here, err := std.Stat()
	if err != nil {
		return nil
	}
	if there, err := os.Stat(name); err != nil || !os.SameFile(here, there) {
		return nil
	}
	w := New(name, l)
	w.std = std
	return w
}
