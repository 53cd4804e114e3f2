package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// execWorkerCode is a worker that was not forked.
const execWorkerCode = "import sys; sys.path.insert(0, sys.argv[1]); " +
	"from ray._core.worker import main; main()"

// execWorker starts a fresh interpreter for the worker: the way without a fork
// server, for environments in which forking does not work.
func (m *Manager) execWorker(w *worker, stdout, stderr *os.File) error {
	ws := w.spec
	text, err := json.Marshal(forkMessage(ws))
	if err != nil {
		return err
	}
	cmd := exec.Command(ws.Python, "-c", execWorkerCode, m.cfg.PackageDir)
	cmd.Env = append(environ(ws.ServerEnv), "RAY_WORKER_SPEC="+string(text))
	cmd.Dir = ws.Cwd
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.spawn.start(cmd); err != nil {
		return fmt.Errorf("interpreter %s: %w", ws.Python, err)
	}
	m.forked(ws.ID, cmd.Process.Pid)
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		m.ended(ws.ID, exitOf(cmd.Wait()))
	}()
	return nil
}

// exitOf reads how a process ended from what Wait returned.
func exitOf(err error) Exit {
	if err == nil {
		return Exit{}
	}
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return Exit{Code: -1, Error: err.Error()}
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return Exit{Signal: int(status.Signal())}
	}
	return Exit{Code: failed.ExitCode()}
}

// Command is an entrypoint of a submitted job.
type Command struct {
	ID      string // its name in the Manager; unique among the running ones
	Line    string // given to /bin/sh -c
	Env     []string
	Dir     string
	LogPath string // stdout and stderr together, appended
}

// Child is a running Command.
type Child struct {
	PID  int
	done chan struct{}
	exit Exit
}

// Done is closed when the command has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Exit tells how it ended; valid after Done.
func (c *Child) Exit() Exit { return c.exit }

// Run starts a command in its own process group.
func (m *Manager) Run(c Command) (*Child, error) {
	log, err := os.OpenFile(c.LogPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.ID, err)
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", "-c", c.Line)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, fmt.Errorf("start %s: the node is shutting down", c.ID)
	}
	if m.children[c.ID] != nil {
		return nil, fmt.Errorf("start %s: it runs already", c.ID)
	}
	if err := m.spawn.start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.ID, err)
	}
	child := &Child{PID: cmd.Process.Pid, done: make(chan struct{})}
	m.children[c.ID] = child
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		child.exit = exitOf(cmd.Wait())
		child.exit.PID = child.PID
		killGroup(child.PID)
		m.mu.Lock()
		delete(m.children, c.ID)
		m.mu.Unlock()
		close(child.done)
	}()
	return child, nil
}

// Stop sends SIGTERM to a command's group, and SIGKILL after grace. It returns
// when the command is gone; an unknown one is no error.
func (m *Manager) Stop(id string, grace time.Duration) {
	m.mu.Lock()
	c := m.children[id]
	m.mu.Unlock()
	if c == nil {
		return
	}
	_ = syscall.Kill(-c.PID, syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		killGroup(c.PID)
		<-c.done
	}
}
