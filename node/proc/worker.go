package proc

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"ray/internal/spec"
)

// WorkerSpec describes a worker process.
type WorkerSpec struct {
	ID     spec.WorkerID
	JobID  spec.JobID
	Python string // interpreter
	// ServerEnv are variables that an interpreter reads when it starts (LD_*,
	// PYTHON*, MALLOC_*): workers with different ones need different servers.
	ServerEnv map[string]string
	Env       map[string]string // set in the worker before any user import
	Unset     []string
	Cwd       string // empty: the daemon's
	SysPath   []string
	Socket    string // the daemon's Unix socket
	Exec      bool   // start a fresh interpreter instead of forking one
}

// Exit is the end of a worker process.
type Exit struct {
	ID     spec.WorkerID
	PID    int // 0: it never started, Error says why
	Code   int
	Signal int // 0: it exited by itself, with Code
	Error  string
	Stderr []string // its last lines on stderr, at most 20
}

// String says how the process ended, for people.
func (e Exit) String() string {
	switch {
	case e.PID == 0:
		return "could not be started: " + e.Error
	case e.Signal != 0:
		return fmt.Sprintf("was killed by signal %d (%s)", e.Signal, syscall.Signal(e.Signal))
	default:
		return fmt.Sprintf("ended with exit code %d", e.Code)
	}
}

// worker is one worker process, from Start to its OnExit.
type worker struct {
	spec    WorkerSpec
	server  *server // nil: executed, not forked
	pid     int
	doomed  bool        // to be killed when it is there
	files   [2]*os.File // read ends of stdout and stderr, until it is forked
	outputs sync.WaitGroup
	stderr  tail
}
