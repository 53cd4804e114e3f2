package proc

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"ray/internal/logfile"
	"ray/internal/spec"
)

// The two streams of a process.
const (
	Stdout = "out"
	Stderr = "err"
)

var ext = map[string]string{Stdout: ".out", Stderr: ".err"}

// Lines is what a worker printed: whole lines without their ends, in order.
type Lines struct {
	ID     spec.WorkerID
	JobID  spec.JobID
	PID    int
	Stream string // Stdout or Stderr
	Name   string // of the task or actor that printed, "" if it did not say
	Lines  []string
}

// maxLine is where a line without an end is cut.
const maxLine = 1 << 20

// lineEnd is how long the end of a line is awaited: what follows a prompt or a
// progress bar may come late or never.
const lineEnd = 300 * time.Millisecond

// A thousand workers have two thousand streams, and most say little.
const (
	quietBuffer = 2 << 10
	busyBuffer  = 64 << 10
)

// output reads one stream of a worker.
type output struct {
	m      *Manager
	w      *worker
	stream string
	file   *logfile.Writer
	name   string
	rest   []byte // a line that has not ended yet
	cut    bool   // its beginning has been given out
}

// read copies the pipe to the log file and the driver until it ends.
func (o *output) read(f *os.File) {
	defer f.Close()
	defer o.file.Close()
	buf := make([]byte, quietBuffer)
	timed := false // how long a line may stay open
	for {
		if open := len(o.rest) > 0; open && !timed {
			timed = f.SetReadDeadline(time.Now().Add(lineEnd)) == nil
		} else if !open && timed {
			timed = f.SetReadDeadline(time.Time{}) != nil
		}
		n, err := f.Read(buf)
		if n > 0 {
			o.take(buf[:n])
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.begin()
			continue
		}
		if n == len(buf) && n < busyBuffer {
			buf = make([]byte, busyBuffer)
		}
		if err != nil {
			break
		}
	}
	if len(o.rest) > 0 {
		rest := o.rest
		o.rest = nil
		o.lines([]string{string(rest)})
	} else if o.cut {
		_, _ = o.file.Write([]byte("\n"))
	}
}

// begin gives out the line that has not ended as if it were one; the file has
// it as it was written.
func (o *output) begin() {
	if len(o.rest) == 0 {
		return
	}
	_, _ = o.file.Write(o.rest)
	o.tell([]string{string(o.rest)})
	o.rest, o.cut = o.rest[:0], true
}

// take splits what was read; marker lines change the name and are not output.
func (o *output) take(b []byte) {
	var batch []string
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			o.rest = append(o.rest, b...)
			if len(o.rest) >= maxLine {
				batch = append(batch, string(o.rest))
				o.rest = o.rest[:0]
			}
			break
		}
		line := string(b[:i])
		if len(o.rest) > 0 {
			line = string(o.rest) + line
			o.rest = o.rest[:0]
		}
		b = b[i+1:]
		if o.cut && line == "" {
			o.cut = false
			_, _ = o.file.Write([]byte("\n"))
			continue
		}
		o.cut = false
		if name, ok := marker(line); ok {
			o.lines(batch)
			batch = nil
			if name != "" {
				o.name = name
			}
			continue
		}
		batch = append(batch, line)
	}
	o.lines(batch)
}

// marker tells whether a line is a worker's word to its daemon, and the name
// that it gives to what follows.
func marker(line string) (name string, ok bool) {
	for _, prefix := range []string{":task_name:", ":actor_name:"} {
		if rest, found := strings.CutPrefix(line, prefix); found {
			return strings.TrimSpace(rest), true
		}
	}
	return "", strings.HasPrefix(line, ":job_id:")
}

func (o *output) lines(lines []string) {
	if len(lines) == 0 {
		return
	}
	_, _ = o.file.Write([]byte(strings.Join(lines, "\n") + "\n"))
	o.tell(lines)
}

func (o *output) tell(lines []string) {
	if o.stream == Stderr {
		o.w.stderr.add(lines)
	}
	if o.m.cfg.OnLines != nil {
		o.m.cfg.OnLines(Lines{ID: o.w.spec.ID, JobID: o.w.spec.JobID, PID: o.w.pid,
			Stream: o.stream, Name: o.name, Lines: lines})
	}
}

// tail keeps the last lines of stderr for the error that a crash becomes.
type tail struct {
	mu   sync.Mutex
	kept []string
}

const (
	tailLines = 20
	tailWidth = 1000
)

func (t *tail) add(lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	for _, l := range lines {
		if len(l) > tailWidth {
			l = l[:tailWidth] + "…"
		}
		t.kept = append(t.kept, l)
	}
	if extra := len(t.kept) - tailLines; extra > 0 {
		t.kept = slices.Delete(t.kept, 0, extra)
	}
}

func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.kept)
}
