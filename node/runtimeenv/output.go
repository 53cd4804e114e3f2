package runtimeenv

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"ray/internal/logfile"
)

const (
	tailLines   = 40
	maxLine     = 2000     // bytes of a line that are kept
	maxSetupLog = 10 << 20 // bytes of a job's log before it is turned over
)

// output is what the commands of one build print: kept in part for errors,
// its last line shown as progress, all of it written to the logs of the jobs
// that wait for it.
type output struct {
	mu      sync.Mutex
	partial []byte
	tail    []string
	step    string // what is being done
	logs    map[*setupLog]bool
}

func newOutput() *output { return &output{logs: map[*setupLog]bool{}} }

// addLog makes a further job's log hear what follows.
func (o *output) addLog(log *setupLog) {
	if log == nil {
		return
	}
	o.mu.Lock()
	o.logs[log] = true
	o.mu.Unlock()
}

func (o *output) has(log *setupLog) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.logs[log]
}

// begin names what is being done now.
func (o *output) begin(step string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.step, o.tail = step, nil
	o.write("> " + step)
}

// Write takes what a command prints; progress bars are lines, too.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partial = append(o.partial, b...)
	for {
		i := bytes.IndexAny(o.partial, "\n\r")
		if i < 0 {
			if len(o.partial) > maxLine {
				i = maxLine
				o.line(string(o.partial[:i]))
				o.partial = o.partial[i:]
				continue
			}
			return len(b), nil
		}
		o.line(string(o.partial[:i]))
		o.partial = o.partial[i+1:]
	}
}

func (o *output) line(text string) {
	text = masked(strings.TrimRight(text, " \t"))
	if text == "" {
		return
	}
	text = text[:min(len(text), maxLine)]
	o.tail = append(o.tail, text)
	if len(o.tail) > tailLines {
		o.tail = o.tail[1:]
	}
	o.write(text)
}

func (o *output) write(text string) {
	for log := range o.logs {
		log.write(text)
	}
}

// close takes the last unfinished line.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line(string(o.partial))
	o.partial = nil
}

// end is the text that an error ends with.
func (o *output) end() string {
	if o == nil {
		return ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == 0 {
		if o.step == "" {
			return ""
		}
		return " (while running: " + o.step + ")"
	}
	return fmt.Sprintf(" (while running: %s); the end of its output:\n%s", o.step, strings.Join(o.tail, "\n"))
}

// last is the progress: the latest line, or what is being done.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) > 0 {
		return o.tail[len(o.tail)-1]
	}
	return o.step
}

var credentials = regexp.MustCompile(`(://)[^/@\s]+@`)

// masked hides user names and passwords in URLs.
func masked(text string) string { return credentials.ReplaceAllString(text, "$1****@") }

// setupLog is the log file of one job's environments.
type setupLog struct {
	path string
	mu   sync.Mutex
}

func (l *setupLog) write(text string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	log := logfile.New(l.path, logfile.Limits{Bytes: maxSetupLog, Keep: 1})
	_, _ = fmt.Fprintf(log, "%s %s\n", time.Now().Format("2006-01-02 15:04:05.000"), text) // a log that cannot be written must not stop the build
	log.Close()
}

// Forget removes the log of a job's environments.
func (m *Manager) Forget(job string) error {
	l := m.logFor(job)
	if l == nil {
		return nil
	}
	m.mu.Lock()
	delete(m.logs, job)
	m.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	return logfile.Remove(l.path)
}

// logFor gives the log of a job; nil if there is no place for logs.
func (m *Manager) logFor(job string) *setupLog {
	if m.cfg.LogDir == "" || job == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.logs[job]
	if l == nil {
		l = &setupLog{path: filepath.Join(m.cfg.LogDir, "runtime_env_setup-"+job+".log")}
		m.logs[job] = l
	}
	return l
}
