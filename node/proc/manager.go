package proc

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"ray/internal/logfile"
	"ray/internal/spec"
)

// Config tells a Manager where things are and whom to tell. The callbacks run
// on the Manager's goroutines, one at a time for each process; they may call
// back into the Manager.
type Config struct {
	LogDir     string // log files of workers and jobs; must exist
	PackageDir string // directory that holds the `ray` Python package
	Log        *slog.Logger
	// OnForked tells that a worker's process exists.
	OnForked func(id spec.WorkerID, pid int)
	// OnExit tells that it is gone, or never came to be. Called once for each Start.
	OnExit func(Exit)
	// OnLines hands over what a worker printed. While it blocks, the pipe
	// fills and the printer waits.
	OnLines func(Lines)
}

// Manager owns the processes of a node. Make it with New, end it with Close.
type Manager struct {
	cfg   Config
	spawn *spawner

	mu       sync.Mutex
	servers  map[string]*server
	workers  map[spec.WorkerID]*worker
	children map[string]*Child
	pipes    map[*os.File]bool // read ends of workers' output that are being read
	closed   bool
	wg       sync.WaitGroup
}

// New makes a Manager; nothing runs yet.
func New(cfg Config) *Manager {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Manager{
		cfg:      cfg,
		spawn:    newSpawner(),
		servers:  map[string]*server{},
		workers:  map[spec.WorkerID]*worker{},
		children: map[string]*Child{},
		pipes:    map[*os.File]bool{},
	}
}

// Start asks for a worker process and returns at once; OnForked and then
// OnExit follow, or OnExit alone. An error means that neither will.
func (m *Manager) Start(ws WorkerSpec) error {
	w := &worker{spec: ws}
	outR, outW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start worker %s: %w", ws.ID, err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start worker %s: %w (pipe)", ws.ID, closeAll(err, outR, outW))
	}
	w.files = [2]*os.File{outR, errR}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return closeAll(fmt.Errorf("start worker %s: the node is shutting down", ws.ID), outR, outW, errR, errW)
	}
	m.workers[ws.ID] = w
	if !ws.Exec {
		w.server = m.serverFor(ws)
	}
	m.wg.Add(1)
	m.mu.Unlock()
	go func() {
		defer m.wg.Done()
		defer closeAll(nil, outW, errW)
		if w.server != nil {
			err = w.server.fork(ws, outW, errW)
		} else {
			err = m.execWorker(w, outW, errW)
		}
		if err != nil {
			m.ended(ws.ID, Exit{Error: err.Error()})
		}
	}()
	return nil
}

// Warm starts the fork server that ws would use, so that it is ready when the
// first worker is wanted.
func (m *Manager) Warm(ws WorkerSpec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.serverFor(ws)
	}
}

// Signal sends sig to the worker's process alone. An unknown or dead worker is no error.
func (m *Manager) Signal(id spec.WorkerID, sig syscall.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.workers[id]; w != nil && w.pid > 0 {
		_ = syscall.Kill(w.pid, sig)
	}
}

// Kill ends the worker and everything in its process group with SIGKILL. One
// of which the fork server has not told yet, although it may be connected and
// at work by now, is ended when that tells of it.
func (m *Manager) Kill(id spec.WorkerID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.workers[id]; w != nil {
		w.doomed = true
		killGroup(w.pid)
	}
}

// forked notes the pid and starts reading the worker's output.
func (m *Manager) forked(id spec.WorkerID, pid int) {
	m.mu.Lock()
	w := m.workers[id]
	if w == nil {
		m.mu.Unlock()
		killGroup(pid)
		return
	}
	w.pid = pid
	if w.doomed {
		killGroup(pid)
	}
	files := w.files
	w.files = [2]*os.File{}
	base := filepath.Join(m.cfg.LogDir, fmt.Sprintf("worker-%s-%s-%d", id, w.spec.JobID, pid))
	w.outputs.Add(2)
	m.wg.Add(2)
	m.pipes[files[0]], m.pipes[files[1]] = true, true
	m.mu.Unlock()
	for i, stream := range []string{Stdout, Stderr} {
		out := &output{m: m, w: w, stream: stream, file: logfile.New(base+ext[stream], logfile.FromEnv())}
		go func() {
			defer m.wg.Done()
			defer w.outputs.Done()
			out.read(files[i])
			m.mu.Lock()
			delete(m.pipes, files[i])
			m.mu.Unlock()
		}()
	}
	if m.cfg.OnForked != nil {
		m.cfg.OnForked(id, pid)
	}
}

// ended reports a worker's end once: it waits a moment for the rest of its
// output, so that the error can quote it.
func (m *Manager) ended(id spec.WorkerID, e Exit) {
	m.mu.Lock()
	w := m.workers[id]
	delete(m.workers, id)
	m.mu.Unlock()
	if w == nil {
		return
	}
	e.ID, e.PID = id, w.pid
	if w.pid > 0 {
		killGroup(w.pid)
	}
	if w.files[0] != nil {
		_ = closeAll(nil, w.files[:]...)
	}
	drained := make(chan struct{})
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		defer close(drained)
		w.outputs.Wait()
	}()
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		select {
		case <-drained:
		case <-time.After(outputGrace):
		}
		e.Stderr = w.stderr.lines()
		if m.cfg.OnExit != nil {
			m.cfg.OnExit(e)
		}
	}()
}

// outputGrace bounds how long a worker's end waits for its output: a
// grandchild that left the group may hold the pipe open for ever.
const outputGrace = 300 * time.Millisecond

// Close kills everything and waits for it.
func (m *Manager) Close() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.closed = true
	servers := make([]*server, 0, len(m.servers))
	for _, s := range m.servers {
		servers = append(servers, s)
	}
	for _, w := range m.workers {
		if w.pid > 0 {
			killGroup(w.pid)
		}
	}
	children := make([]*Child, 0, len(m.children))
	for _, c := range m.children {
		children = append(children, c)
	}
	m.mu.Unlock()
	for _, c := range children {
		killGroup(c.PID)
	}
	for _, s := range servers {
		s.close()
	}
	m.waitAll()
	m.spawn.close()
}

// waitAll waits for every goroutine. A process that left its worker's group
// may hold the worker's pipes for ever: they are closed on this side after a
// moment, and what it still prints is lost.
func (m *Manager) waitAll() {
	done := make(chan struct{})
	go func() {
		m.wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(outputGrace)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return
		case <-timer.C:
			m.mu.Lock()
			for f := range m.pipes {
				_ = f.Close()
			}
			m.mu.Unlock()
			timer.Reset(outputGrace) // workers that were forked meanwhile
		}
	}
}

func killGroup(pid int) {
	if pid > 1 {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// closeAll closes files and gives err back, for cleaning up on the way out.
func closeAll(err error, files ...*os.File) error {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
	return err
}
