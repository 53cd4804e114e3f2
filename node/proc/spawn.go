package proc

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner starts commands on one operating-system thread that lives as long
// as the Manager: a child's parent-death signal is sent when the *thread* that
// made it ends, and Go's threads come and go.
type spawner struct {
	work chan func()
	once sync.Once
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range s.work {
			f()
		}
	}()
	return s
}

// start runs cmd.Start on the spawner's thread.
func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.work <- func() { result <- cmd.Start() }
	return <-result
}

// close ends the thread; no start may be called afterwards.
func (s *spawner) close() {
	s.once.Do(func() { close(s.work) })
	<-s.done
}
