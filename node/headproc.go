package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ray/internal/logfile"
	"ray/internal/session"
)

// Limits of a head that does not come up.
const (
	headTries   = 3       // ends before the node has registered for the first time
	headLogTail = 4 << 10 // bytes of its log in the error
)

// headProcess is the head that runs now: a child of this daemon, or one that
// an earlier daemon of the same session has left behind.
type headProcess struct {
	proc  session.Process
	cmd   *exec.Cmd // nil: adopted
	since int64     // size of its log before it wrote
}

// startHead starts the head process of the head machine, in a session of its
// own, and starts it again with backoff whenever it ends. One that already
// serves this session is adopted.
func (d *daemon) startHead() error {
	lock, err := session.LockDaemon(d.cfg.SessionDir)
	if err != nil {
		return fmt.Errorf("become the daemon of this session: %w", err)
	}
	d.headLock = lock
	file := filepath.Join(d.cfg.SessionDir, "head.json")
	if len(d.cfg.HeadConfig) > 0 {
		if err := os.WriteFile(file, d.cfg.HeadConfig, 0o600); err != nil {
			return fmt.Errorf("write the head's configuration: %w", err)
		}
	}
	argv := d.cfg.HeadCommand
	if len(argv) == 0 {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this binary to start the head: %w", err)
		}
		argv = []string{self, "__head", "--config", file, "--daemon-session", d.cfg.SessionDir}
		if d.cfg.OwnerPID != 0 || d.cfg.OwnerFD > 2 {
			argv = append(argv, "--with-daemon")
		}
	}
	var first *headProcess
	if p, ok := session.HeadOf(d.cfg.SessionDir); ok {
		first = &headProcess{proc: p}
		d.log.Info("the head of this session still serves and is taken over", "pid", p.PID)
		d.setHead(first)
	} else if first, err = d.runHead(argv); err != nil {
		return err
	}
	if !d.goes(func() { d.keepHead(argv, first) }) {
		first.drop()
	}
	return nil
}

// drop ends a head that was started as the daemon began to end: nobody waits
// for it, and it has served nobody.
func (h *headProcess) drop() {
	if h.cmd != nil {
		_ = h.proc.Signal(syscall.SIGKILL)
		_ = h.cmd.Wait()
	}
}

func (d *daemon) setHead(h *headProcess) {
	d.headMu.Lock()
	d.headProc = h
	d.headMu.Unlock()
}

func (d *daemon) headLog() string { return filepath.Join(d.cfg.SessionDir, "logs", "gcs_server.err") }

func (d *daemon) runHead(argv []string) (*headProcess, error) {
	log, err := os.OpenFile(d.headLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the head's log: %w", err)
	}
	defer log.Close()
	h := &headProcess{}
	if view, err := logfile.Open(d.headLog()); err == nil {
		h.since = view.End
		view.Close()
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = os.Environ()
	if d.cfg.Token != "" {
		cmd.Env = append(cmd.Env, "RAY_AUTH_TOKEN="+d.cfg.Token)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the head: %w", err)
	}
	h.cmd = cmd
	h.proc, _ = session.Identify(cmd.Process.Pid) // it is our child: its pid is its own until Wait
	d.setHead(h)
	return h, nil
}

// wait returns when the head has ended.
func (h *headProcess) wait(ctx context.Context) error {
	if h.cmd != nil {
		return h.cmd.Wait()
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for h.proc.Alive() {
		select {
		case <-tick.C:
		case <-ctx.Done(): // stopHead waits for it
			return ctx.Err()
		}
	}
	return errors.New("it is no child of this daemon: how it ended is not known")
}

// keepHead restarts the head until the daemon ends. One that never gets to
// serve is given up.
func (d *daemon) keepHead(argv []string, h *headProcess) {
	backoff := 100 * time.Millisecond
	for tries := 1; ; tries++ {
		started := time.Now()
		err := h.wait(d.ctx)
		if d.ctx.Err() != nil {
			return
		}
		d.setHead(nil)
		if !d.head.served.Load() && tries >= headTries {
			d.stop(fmt.Errorf("the head process has ended %d times before it served (%w). Its last words, from %s:\n%s",
				tries, err, d.headLog(), lastWords(d.headLog(), h.since)))
			return
		}
		d.log.Warn("the head process has ended and is started again", "err", err)
		if time.Since(started) > 10*time.Second {
			backoff = 100 * time.Millisecond
		}
		for {
			select {
			case <-d.ctx.Done():
				return
			case <-time.After(backoff):
			}
			backoff = min(2*backoff, 5*time.Second)
			d.keepIdentity()
			if h, err = d.runHead(argv); err == nil {
				break
			}
			d.log.Warn("the head cannot be started", "err", err)
		}
		if d.ctx.Err() != nil { // stopHead may have looked before it was there
			h.drop()
			return
		}
	}
}

// lastWords is the end of what was written to a log after an offset.
func lastWords(path string, since int64) string {
	log, err := logfile.Open(path)
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	since = max(since, log.End-headLogTail)
	text, _ := io.ReadAll(io.NewSectionReader(log, since, headLogTail)) // what can be read is shown
	return strings.TrimSpace(string(text))
}

// keepIdentity writes the cluster's id into the head's configuration: a head
// without a durable store would come back as another cluster.
func (d *daemon) keepIdentity() {
	d.mu.Lock()
	id := d.cluster.ClusterID
	d.mu.Unlock()
	var conf map[string]json.RawMessage
	if id == "" || json.Unmarshal(d.cfg.HeadConfig, &conf) != nil || len(conf["cluster_id"]) > 0 {
		return
	}
	conf["cluster_id"], _ = json.Marshal(id) // a string
	text, err := json.Marshal(conf)
	if err == nil {
		err = os.WriteFile(filepath.Join(d.cfg.SessionDir, "head.json"), text, 0o600)
	}
	if err != nil {
		d.log.Warn("the head's configuration cannot be written", "err", err)
	}
}

// stopHead ends the head: politely, and after a grace by force.
func (d *daemon) stopHead() {
	d.headMu.Lock()
	h := d.headProc
	d.headMu.Unlock()
	if h != nil {
		_ = h.proc.Signal(syscall.SIGTERM) // gone already is what we want
		kill := time.AfterFunc(3*time.Second, func() { _ = h.proc.Signal(syscall.SIGKILL) })
		d.tasks.Wait() // with keepHead, which collects it
		for h.cmd == nil && h.proc.Alive() {
			time.Sleep(10 * time.Millisecond)
		}
		kill.Stop()
	}
	d.headLock.Release()
}
