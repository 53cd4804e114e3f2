package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The locks of a session directory. The kernel lets go of them when the
// process ends, however it ends.
const (
	daemonLock = "daemon.lock" // the node daemon of the head machine
	headLock   = "head.lock"   // the head process
	nodeLock   = "node.lock"   // the node daemon of any machine, also while it looks for its head
)

// ErrLocked tells that a living process holds the lock.
var ErrLocked = errors.New("another process holds the lock")

// Lock is held until Release or the end of the process.
type Lock struct{ file *os.File }

// LockDaemon makes the calling process the session's head-machine daemon.
func LockDaemon(dir string) (*Lock, error) { return take(filepath.Join(dir, daemonLock)) }

// LockHead makes the calling process the session's head.
func LockHead(dir string) (*Lock, error) { return take(filepath.Join(dir, headLock)) }

// LockNode makes the calling process the session's node daemon.
func LockNode(dir string) (*Lock, error) { return take(filepath.Join(dir, nodeLock)) }

// take fails with ErrLocked if another process has the lock.
func take(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the session: %w", err)
	}
	err = exclusively(f)
	if err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

// exclusively locks f, or fails with EWOULDBLOCK if another process has it so.
// Somebody may just be looking who holds it (see holder): that is waited for,
// however late a busy machine lets him go on.
func exclusively(f *os.File) error {
	for end := time.Now().Add(lookPatience); ; time.Sleep(5 * time.Millisecond) {
		err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
		if err := flock(f, syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
			return err
		}
		if err := flock(f, syscall.LOCK_UN); err != nil {
			return err
		}
	}
}

const lookPatience = 10 * time.Second

// Release lets go of the lock.
func (l *Lock) Release() {
	if l != nil {
		_ = l.file.Close()
	}
}

// HeadOf is the process that serves as the session's head, if one lives.
func HeadOf(dir string) (Process, bool) { return holder(filepath.Join(dir, headLock)) }

// DaemonOf is the session's head-machine daemon, if it lives.
func DaemonOf(dir string) (Process, bool) { return holder(filepath.Join(dir, daemonLock)) }

// NodeOf is the session's node daemon, if it lives: it has no session file
// before it has joined its head, nor while it joins anew.
func NodeOf(dir string) (Process, bool) { return holder(filepath.Join(dir, nodeLock)) }

func holder(path string) (Process, bool) {
	f, err := os.Open(path)
	if err != nil {
		return Process{}, false
	}
	defer f.Close()
	if flock(f, syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return Process{}, false // nobody holds it
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Process{}, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return Process{}, false
	}
	p, err := Identify(pid)
	return p, err == nil
}

// AwaitDaemonEnd returns when no process is the session's daemon any more. It
// cannot be interrupted and keeps a thread of the system busy meanwhile.
func AwaitDaemonEnd(dir string) error { return await(filepath.Join(dir, daemonLock)) }

// AwaitHeadEnd is the same for the head.
func AwaitHeadEnd(dir string) error { return await(filepath.Join(dir, headLock)) }

func await(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return flock(f, syscall.LOCK_SH)
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
