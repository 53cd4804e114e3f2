package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"ray/internal/logfile"
)

// Command is an entrypoint of a submitted job.
type Command struct {
	ID      string // its name in the Manager; unique among the running ones
	Line    string // given to /bin/sh -c
	Env     []string
	Dir     string
	LogPath string // stdout and stderr together, appended
	Heading string // first line of its output in the log; empty: none
}

// Child is a running Command.
type Child struct {
	PID  int
	done chan struct{}
	exit Exit
}

// Done is closed when the command has ended and its output is in the log.
func (c *Child) Done() <-chan struct{} { return c.done }

// Exit tells how it ended; valid after Done.
func (c *Child) Exit() Exit { return c.exit }

// Run starts a command in its own process group. It prints into a pipe, so
// that its log can be bounded.
func (m *Manager) Run(c Command) (*Child, error) {
	log := logfile.New(c.LogPath, logfile.FromEnv())
	if err := log.Open(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.ID, err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", c.ID, err)
	}
	defer in.Close()
	cmd := exec.Command("/bin/sh", "-c", c.Line)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	child := &Child{done: make(chan struct{})}
	if err := m.begin(c.ID, cmd, child, out); err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", c.ID, errors.Join(err, out.Close()))
	}
	if c.Heading != "" {
		_, _ = io.WriteString(log, c.Heading+"\n") // as with the output itself, a full disk does not end the command
	}
	written := make(chan struct{})
	go func() {
		defer m.wg.Done()
		copyOutput(log, out, func() { close(written) })
		log.Close()
		_ = out.Close()
		m.mu.Lock()
		delete(m.pipes, out)
		m.mu.Unlock()
	}()
	go func() {
		defer m.wg.Done()
		exit := exitOf(cmd.Wait())
		exit.PID = child.PID
		killGroup(child.PID)
		// What left the group may hold the pipe for ever: only what it and the
		// command have printed by now is waited for.
		_ = out.SetReadDeadline(time.Now())
		<-written
		child.exit = exit
		m.mu.Lock()
		delete(m.children, c.ID)
		m.mu.Unlock()
		close(child.done)
	}()
	return child, nil
}

// begin starts the process and counts its two goroutines.
func (m *Manager) begin(id string, cmd *exec.Cmd, child *Child, out *os.File) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errors.New("the node is shutting down")
	}
	if m.children[id] != nil {
		return errors.New("it runs already")
	}
	if err := m.spawn.start(cmd); err != nil {
		return err
	}
	child.PID = cmd.Process.Pid
	m.children[id] = child
	m.pipes[out] = true
	m.wg.Add(2)
	return nil
}

// copyOutput writes what comes through a pipe to a log until its end. A read
// deadline asks for what is in the pipe at that moment; when that is written,
// or the pipe has ended before, written is called, once.
func copyOutput(log io.Writer, pipe *os.File, written func()) {
	buf := make([]byte, busyBuffer)
	asked := false
	for {
		n, err := pipe.Read(buf)
		_, _ = log.Write(buf[:n]) // a full disk must not stop the job
		if err == nil {
			continue
		}
		if asked || !errors.Is(err, os.ErrDeadlineExceeded) || pipe.SetReadDeadline(time.Time{}) != nil {
			break
		}
		asked = true
		drain(log, pipe, buf)
		written()
	}
	if !asked {
		written()
	}
}

// drain copies what can be read at once.
func drain(log io.Writer, pipe *os.File, buf []byte) {
	raw, err := pipe.SyscallConn()
	for n := 1; err == nil && n > 0; {
		err = raw.Read(func(fd uintptr) bool {
			n, _ = syscall.Read(int(fd), buf) // no data, or the end: nothing to copy
			return true
		})
		if n > 0 {
			_, _ = log.Write(buf[:n])
		}
	}
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
