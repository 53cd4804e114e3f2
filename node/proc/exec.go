package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
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
