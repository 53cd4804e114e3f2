package bootstrap

import (
	"bytes"
	"sync"
)

// tail is a writer that passes lines on and keeps the last ones.
type tail struct {
	each func(line string)

	mu    sync.Mutex
	part  []byte
	lines []string
}

// maxLine bounds a line, in bytes, so that output without an end is not kept.
const maxLine = 4096

// Write implements io.Writer; it never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			t.part = append(t.part, p...)
			break
		}
		t.add(append(t.part, p[:i]...))
		t.part, p = nil, p[i+1:]
	}
	if len(t.part) > maxLine {
		t.add(t.part)
		t.part = nil
	}
	return n, nil
}

// add takes one whole line. t.mu is held.
func (t *tail) add(line []byte) {
	s := string(bytes.TrimRight(line[:min(len(line), maxLine)], "\r"))
	if t.lines = append(t.lines, s); len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
	if t.each != nil {
		t.each(s)
	}
}

func (t *tail) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.part) > 0 {
		t.add(t.part)
		t.part = nil
	}
}

func (t *tail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lines
}
