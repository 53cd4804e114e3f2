package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ray/internal/spec"
)

// watch collects what a Manager reports.
type watch struct {
	mu     sync.Mutex
	forked map[spec.WorkerID]int
	exits  map[spec.WorkerID]Exit
	lines  []Lines
}

func (w *watch) exit(id spec.WorkerID) (Exit, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.exits[id]
	return e, ok
}

func (w *watch) pid(id spec.WorkerID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.forked[id]
}

func (w *watch) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, l := range w.lines {
		for _, line := range l.Lines {
			fmt.Fprintf(&b, "%s %s: %s\n", l.Stream, l.Name, line)
		}
	}
	return b.String()
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		runtime.Gosched()
		<-time.After(2 * time.Millisecond)
	}
}

func python(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on PATH: fork servers cannot be tested")
	}
	return path
}

func manager(t *testing.T) (*Manager, *watch, string) {
	t.Helper()
	pkg, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONDONTWRITEBYTECODE", "1")
	w := &watch{forked: map[spec.WorkerID]int{}, exits: map[spec.WorkerID]Exit{}}
	dir := t.TempDir()
	m := New(Config{
		LogDir: dir, PackageDir: pkg,
		OnForked: func(id spec.WorkerID, pid int) { w.mu.Lock(); w.forked[id] = pid; w.mu.Unlock() },
		OnExit:   func(e Exit) { w.mu.Lock(); w.exits[e.ID] = e; w.mu.Unlock() },
		OnLines:  func(l Lines) { w.mu.Lock(); w.lines = append(w.lines, l); w.mu.Unlock() },
	})
	t.Cleanup(m.Close)
	return m, w, dir
}

func start(t *testing.T, m *Manager, do string) spec.WorkerID {
	t.Helper()
	id := spec.NewWorkerID()
	err := m.Start(WorkerSpec{ID: id, JobID: spec.JobIDFromInt(1), Python: python(t), Env: map[string]string{"DO": do}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func ended(t *testing.T, w *watch, id spec.WorkerID) Exit {
	t.Helper()
	eventually(t, "exit of the worker", func() bool { _, ok := w.exit(id); return ok })
	e, _ := w.exit(id)
	return e
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestEndsAreToldApart(t *testing.T) {
	m, w, _ := manager(t)
	for do, want := range map[string]Exit{
		"exit 0":                      {},
		"echo bad >&2; exit 3":        {Code: 3, Stderr: []string{"bad"}},
		"echo killed >&2; kill -9 $$": {Signal: 9, Stderr: []string{"killed"}},
	} {
		got := ended(t, w, start(t, m, do))
		if got.Code != want.Code || got.Signal != want.Signal || strings.Join(got.Stderr, "|") != strings.Join(want.Stderr, "|") || got.PID == 0 {
			t.Errorf("%s: %+v (%s)", do, got, got)
		}
	}
}

// A worker may be at work before its fork server has told of it: who kills it
// then means it.
func TestAWorkerThatIsKilledBeforeItIsToldOfDies(t *testing.T) {
	m, w, _ := manager(t)
	id := start(t, m, "exec sleep 600")
	m.Kill(id) // its fork server starts only now
	if e := ended(t, w, id); e.Signal != int(syscall.SIGKILL) {
		t.Errorf("%+v (%s)", e, e)
	}
}

func TestOutputGoesToFilesAndLinesWithNames(t *testing.T) {
	m, w, dir := manager(t)
	id := start(t, m, `printf ':job_id:01000000\n:task_name:f\nhello\nworld\n:actor_name:A\nlast'; echo oops >&2`)
	e := ended(t, w, id)
	want := "out f: hello\nout f: world\nout A: last\nerr : oops\n"
	got := w.text()
	for _, line := range strings.SplitAfter(want, "\n") {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
	name := fmt.Sprintf("worker-%s-01000000-%d.out", id, e.PID)
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || string(text) != "hello\nworld\nlast\n" {
		t.Errorf("log file: %q %v", text, err)
	}
}

func TestALineThatDoesNotEndIsShownAndContinued(t *testing.T) {
	m, w, dir := manager(t)
	flag := filepath.Join(t.TempDir(), "flag")
	id := start(t, m, `printf 'one\nhalf'; while [ ! -e `+flag+` ]; do sleep 0.02; done; printf ' and half\ntwo'`)
	eventually(t, "the open line", func() bool { return strings.Contains(w.text(), "half\n") })
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := ended(t, w, id)
	if got := w.text(); got != "out : one\nout : half\nout :  and half\nout : two\n" {
		t.Errorf("lines %q", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("worker-%s-01000000-%d.out", id, e.PID)))
	if err != nil || string(text) != "one\nhalf and half\ntwo\n" {
		t.Errorf("log file: %q %v", text, err)
	}
}

func TestFailedForkAndMissingInterpreter(t *testing.T) {
	m, w, _ := manager(t)
	id := spec.NewWorkerID()
	if err := m.Start(WorkerSpec{ID: id, Python: python(t), Env: map[string]string{"FAIL": "1"}}); err != nil {
		t.Fatal(err)
	}
	if e := ended(t, w, id); e.PID != 0 || !strings.Contains(e.Error, "told to fail") {
		t.Errorf("%+v", e)
	}
	id = spec.NewWorkerID()
	if err := m.Start(WorkerSpec{ID: id, Python: "/nowhere/python"}); err != nil {
		t.Fatal(err)
	}
	if e := ended(t, w, id); e.PID != 0 || !strings.Contains(e.Error, "/nowhere/python") {
		t.Errorf("%+v", e)
	}
}

func TestDeadForkServerIsReplaced(t *testing.T) {
	m, w, _ := manager(t)
	first := start(t, m, "exec sleep 60")
	eventually(t, "fork", func() bool { return w.pid(first) > 0 })
	m.mu.Lock()
	server := m.workers[first].server
	m.mu.Unlock()
	if err := syscall.Kill(server.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended(t, w, first)
	eventually(t, "death of the orphan", func() bool { return !alive(w.pid(first)) })
	if e := ended(t, w, start(t, m, "exit 5")); e.Code != 5 {
		t.Errorf("after the replacement: %+v", e)
	}
}

// More requests than the socket takes at once, whose reports fill the way back
// too: neither side may wait for the other with its own ear closed.
func TestAFloodOfStartsGoesThrough(t *testing.T) {
	m, w, _ := manager(t)
	long := strings.Repeat("x", 8<<10)
	ids := make([]spec.WorkerID, 400)
	for i := range ids {
		ids[i] = spec.NewWorkerID()
		env := map[string]string{"DO": "exit 3", "LONG": long}
		if err := m.Start(WorkerSpec{ID: ids[i], JobID: spec.JobIDFromInt(1), Python: python(t), Env: env}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		if e := ended(t, w, id); e.Code != 3 {
			t.Fatalf("%+v", e)
		}
	}
}

func TestIdleForkServersAreRetired(t *testing.T) {
	m, w, _ := manager(t)
	busy := start(t, m, "exec sleep 60")
	eventually(t, "fork", func() bool { return w.pid(busy) > 0 })
	m.mu.Lock()
	server := m.workers[busy].server
	m.mu.Unlock()
	dir := filepath.Dir(server.python)
	m.RetireIdle(dir, 0)
	m.Kill(busy)
	ended(t, w, busy)
	if !alive(server.cmd.Process.Pid) {
		t.Fatal("a server with a worker was retired")
	}
	m.RetireIdle("/elsewhere", 0)
	m.RetireIdle(dir, time.Hour)
	if !alive(server.cmd.Process.Pid) {
		t.Fatal("a server was retired too early")
	}
	m.RetireIdle(dir, 0)
	eventually(t, "end of the server", func() bool { return !alive(server.cmd.Process.Pid) })
	if e := ended(t, w, start(t, m, "exit 5")); e.Code != 5 {
		t.Errorf("after it: %+v", e)
	}
}

func TestCloseLeavesNoProcess(t *testing.T) {
	before := runtime.NumGoroutine()
	m, w, dir := manager(t)
	pidFile := filepath.Join(dir, "grandchild")
	id := start(t, m, fmt.Sprintf("sleep 60 & echo $! > %s.tmp; mv %s.tmp %s; wait", pidFile, pidFile, pidFile))
	eventually(t, "grandchild", func() bool { _, err := os.Stat(pidFile); return err == nil })
	child, err := m.Run(Command{ID: "job", Line: "sleep 60", LogPath: filepath.Join(dir, "job.log")})
	if err != nil {
		t.Fatal(err)
	}
	var grandchild int
	text, _ := os.ReadFile(pidFile)
	if _, err := fmt.Sscan(string(text), &grandchild); err != nil {
		t.Fatal(err)
	}
	m.Close()
	for what, pid := range map[string]int{"worker": w.pid(id), "its child": grandchild, "command": child.PID} {
		eventually(t, fmt.Sprintf("end of the %s, process %d", what, pid), func() bool { return !alive(pid) })
	}
	eventually(t, "end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
	if err := m.Start(WorkerSpec{ID: spec.NewWorkerID()}); err == nil {
		t.Error("a closed manager starts workers")
	}
}

func TestCloseDoesNotWaitForAProcessThatLeft(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("no setsid on PATH")
	}
	m, _, dir := manager(t)
	pidFile := filepath.Join(dir, "left")
	start(t, m, fmt.Sprintf("setsid sh -c 'echo $$ > %s.tmp; mv %s.tmp %s; exec sleep 60' & wait", pidFile, pidFile, pidFile))
	eventually(t, "the process that leaves", func() bool { _, err := os.Stat(pidFile); return err == nil })
	var left int
	text, _ := os.ReadFile(pidFile)
	if _, err := fmt.Sscan(string(text), &left); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(left, syscall.SIGKILL) }()
	began := time.Now()
	m.Close()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Close took %v", took)
	}
	if !alive(left) {
		t.Error("the process did not hold the pipes: the test shows nothing")
	}
}

func TestCommandStopsWithinItsGrace(t *testing.T) {
	m, _, dir := manager(t)
	log := filepath.Join(dir, "job.log")
	run := func(id, line string) *Child {
		c, err := m.Run(Command{ID: id, Line: line, Env: os.Environ(), LogPath: log})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	polite := run("polite", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done")
	eventually(t, "trap", func() bool { b, _ := os.ReadFile(log); return strings.Contains(string(b), "up") })
	m.Stop("polite", 10*time.Second)
	if e := polite.Exit(); e.Code != 7 {
		t.Errorf("polite: %+v", e)
	}
	stubborn := run("stubborn", "trap '' TERM; echo deaf; while :; do sleep 0.01; done")
	eventually(t, "trap", func() bool { b, _ := os.ReadFile(log); return strings.Contains(string(b), "deaf") })
	m.Stop("stubborn", 50*time.Millisecond)
	if e := stubborn.Exit(); e.Signal != 9 {
		t.Errorf("stubborn: %+v", e)
	}
	if _, err := m.Run(Command{ID: "x", Line: "true", LogPath: "/nowhere/log"}); err == nil {
		t.Error("a log that cannot be opened is an error")
	}
}
