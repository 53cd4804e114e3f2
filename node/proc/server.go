package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ray/internal/logfile"
	"ray/internal/spec"
)

// serverReady bounds the start of a fork server: an interpreter on a cold disk
// and a busy machine takes seconds, not a minute.
const serverReady = 60 * time.Second

// forkServerCode runs in the interpreter; its argument is the package directory.
const forkServerCode = "import sys; sys.path.insert(0, sys.argv[1]); " +
	"from ray._core.forkserver import main; main(3)"

// server is one fork server. Its goroutine starts it, reads its reports and
// ends with it; the Manager makes a new one for the next worker.
type server struct {
	m      *Manager
	key    string
	python string
	env    []string

	ready chan struct{} // closed when it can fork, or cannot ever
	err   error         // valid after ready
	conn  *net.UnixConn
	cmd   *exec.Cmd

	mu        sync.Mutex
	workers   map[spec.WorkerID]bool // asked for and not reported gone
	idleSince time.Time              // when the last worker had gone; zero while there was none
	dead      bool
	stderr    tail
}

// message is every JSON object of the protocol, both ways.
type message struct {
	Op       string            `json:"op"`
	WorkerID spec.WorkerID     `json:"worker_id,omitzero"`
	Socket   string            `json:"socket,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Unset    []string          `json:"unset,omitempty"`
	Cwd      *string           `json:"cwd,omitempty"`
	SysPath  []string          `json:"sys_path,omitempty"`
	Title    string            `json:"title,omitempty"`
	JobID    spec.JobID        `json:"job_id,omitzero"`
	PID      int               `json:"pid,omitempty"`
	Python   string            `json:"python,omitempty"`
	Error    string            `json:"error,omitempty"`
	Code     *int              `json:"code,omitempty"`
	Signal   *int              `json:"signal,omitempty"`
}

func forkMessage(ws WorkerSpec) message {
	msg := message{Op: "fork", WorkerID: ws.ID, JobID: ws.JobID, Socket: ws.Socket, Env: ws.Env,
		Unset: ws.Unset, SysPath: ws.SysPath, Title: "ray::IDLE"}
	if ws.Cwd != "" {
		msg.Cwd = &ws.Cwd
	}
	return msg
}

func serverKey(ws WorkerSpec) string {
	var b strings.Builder
	b.WriteString(ws.Python)
	for _, k := range slices.Sorted(maps.Keys(ws.ServerEnv)) {
		fmt.Fprintf(&b, "\x00%s=%s", k, ws.ServerEnv[k])
	}
	return b.String()
}

// serverFor finds or starts the fork server for ws. The Manager's lock is held.
func (m *Manager) serverFor(ws WorkerSpec) *server {
	key := serverKey(ws)
	if s := m.servers[key]; s != nil {
		return s
	}
	s := &server{m: m, key: key, python: ws.Python, ready: make(chan struct{}), workers: map[spec.WorkerID]bool{}}
	s.env = environ(ws.ServerEnv)
	m.servers[key] = s
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		s.run()
	}()
	return s
}

// workerMark names the worker that a program descends from: the fork server
// sets it. This daemon may itself run below a worker of another cluster.
const workerMark = "RAY_WORKER_ID="

// first is a variable that nobody reads: what a library for titles wipes (ray/_core/title.py).
const first = "RAY_FIRST_VARIABLE=1"

func environ(extra map[string]string) []string {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, workerMark) || e == first })
	env = slices.Insert(env, 0, first)
	for _, k := range slices.Sorted(maps.Keys(extra)) {
		env = append(env, k+"="+extra[k])
	}
	return env
}

// run is the server's whole life.
func (s *server) run() {
	err := s.start()
	s.m.mu.Lock()
	closed := s.m.closed
	s.m.mu.Unlock()
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	close(s.ready)
	if err == nil {
		if closed {
			s.close()
		}
		s.reports()
	}
	s.end()
}

func (s *server) start() error {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("fork server: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "forkserver"), os.NewFile(uintptr(pair[1]), "forkserver")
	conn, err := net.FileConn(ours)
	_ = ours.Close()
	if err != nil {
		return closeAll(fmt.Errorf("fork server: %w", err), theirs)
	}
	s.conn = conn.(*net.UnixConn)
	s.cmd = exec.Command(s.python, "-c", forkServerCode, s.m.cfg.PackageDir)
	s.cmd.Env = s.env
	s.cmd.ExtraFiles = []*os.File{theirs}
	s.cmd.Stderr = &stderrWriter{tail: &s.stderr, file: logfile.New(s.m.cfg.LogDir+"/forkserver.err", logfile.FromEnv())}
	// No parent-death signal: it would kill the server before it can kill its
	// workers. The end of the socket tells it that the daemon is gone.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A grandchild that holds stderr must not hold up Wait.
	s.cmd.WaitDelay = time.Second
	err = s.m.spawn.start(s.cmd)
	_ = theirs.Close() // else its death would not end the stream
	if err != nil {
		return fmt.Errorf("fork server %s: %w", s.python, errors.Join(err, s.conn.Close()))
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(serverReady))
	msg, err := s.receive(make([]byte, 4096))
	_ = s.conn.SetReadDeadline(time.Time{})
	if err == nil && msg.Op == "ready" {
		return nil
	}
	killGroup(s.cmd.Process.Pid)
	_ = s.cmd.Wait()
	_ = s.conn.Close()
	return fmt.Errorf("fork server %s did not start: %s", s.python, strings.Join(append(s.stderr.lines(), errText(err)), "\n"))
}

func errText(err error) string {
	if err == nil {
		return "unexpected first message"
	}
	return err.Error()
}

// stderrWriter keeps the end of the server's own stderr.
type stderrWriter struct {
	tail *tail
	file *logfile.Writer
}

func (w *stderrWriter) Write(b []byte) (int, error) {
	w.tail.add(strings.Split(strings.TrimRight(string(b), "\n"), "\n"))
	_, _ = w.file.Write(b)
	return len(b), nil
}

func (s *server) receive(buf []byte) (message, error) {
	var msg message
	n, err := s.conn.Read(buf)
	if err == nil && n == 0 {
		err = errors.New("it ended")
	}
	if err != nil {
		return msg, err
	}
	return msg, json.Unmarshal(buf[:n], &msg)
}

// fork asks for one worker. The descriptors stay the caller's.
func (s *server) fork(ws WorkerSpec, stdout, stderr *os.File) error {
	<-s.ready
	if s.err != nil {
		return s.err
	}
	text, err := json.Marshal(forkMessage(ws))
	if err != nil {
		return err
	}
	if err := s.expect(ws.ID); err != nil {
		return err
	}
	// Not under the lock: the write waits while the server has many requests,
	// and the server waits until its reports, which take the lock, are read.
	rights := syscall.UnixRights(int(stdout.Fd()), int(stderr.Fd()))
	if _, _, err := s.conn.WriteMsgUnix(text, rights, nil); err != nil {
		s.gone(ws.ID)
		return fmt.Errorf("fork server %s: %w (environment of %d bytes)", s.python, err, len(text))
	}
	return nil
}

// expect notes that a worker is asked for, so that the server is not retired.
func (s *server) expect(id spec.WorkerID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return errors.New("its fork server has died: " + strings.Join(s.stderr.lines(), "\n"))
	}
	s.workers[id] = true
	return nil
}

// reports handles what the server says until it is gone.
func (s *server) reports() {
	buf := make([]byte, 64<<10)
	for {
		msg, err := s.receive(buf)
		if err != nil {
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) {
				s.m.cfg.Log.Error("fork server said nonsense", "error", err)
				continue
			}
			return
		}
		switch msg.Op {
		case "forked":
			s.m.forked(msg.WorkerID, msg.PID)
		case "fork_failed":
			s.gone(msg.WorkerID)
			s.m.ended(msg.WorkerID, Exit{Error: msg.Error})
		case "exit":
			s.gone(msg.WorkerID)
			e := Exit{}
			if msg.Code != nil {
				e.Code = *msg.Code
			}
			if msg.Signal != nil {
				e.Signal = *msg.Signal
			}
			s.m.ended(msg.WorkerID, e)
		}
	}
}

func (s *server) gone(id spec.WorkerID) {
	s.mu.Lock()
	delete(s.workers, id)
	s.idleSince = time.Now()
	s.mu.Unlock()
}

// end cleans up after the server: its workers are its children and cannot be
// watched without it.
func (s *server) end() {
	s.m.mu.Lock()
	if s.m.servers[s.key] == s {
		delete(s.m.servers, s.key)
	}
	s.m.mu.Unlock()
	s.mu.Lock()
	s.dead = true
	left := slices.Collect(maps.Keys(s.workers))
	clear(s.workers)
	started := s.err == nil
	s.mu.Unlock()
	if started {
		killGroup(s.cmd.Process.Pid)
		_ = s.cmd.Wait()
		_ = s.conn.Close()
	}
	for _, id := range left {
		s.m.Kill(id)
		s.m.ended(id, Exit{Signal: int(syscall.SIGKILL), Error: "its fork server ended"})
	}
}

// close makes the server kill its workers and exit.
func (s *server) close() {
	select {
	case <-s.ready:
		if s.err == nil {
			_ = s.conn.CloseWrite()
			_ = s.conn.SetReadDeadline(time.Now().Add(closeGrace))
		}
	default:
		// Still starting: run sees closed and calls close again.
	}
}

// closeGrace is how long a server may take to reap its workers at the end.
const closeGrace = 2 * time.Second
