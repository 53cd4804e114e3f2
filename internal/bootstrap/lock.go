package bootstrap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"ray/internal/sshx"
)

// holdLine keeps the host's lock for as long as its input is open, which ends
// with the connection, however that ends. A host without flock has no lock.
const holdLine = `mkdir -p ~/.ray && exec 9>>~/.ray/setup.lock; ` +
	`if command -v flock >/dev/null && ! flock -n 9; then echo waiting; flock 9; fi; echo held; exec cat >/dev/null`

// lock keeps other launchers away from the host until unlock: two laptops may
// have made the same head at the same time.
func (r *Run) lock(ctx context.Context) error {
	if r.Traits.SharedMachine {
		return nil // the cluster's own lock is on this machine too
	}
	in, keep := io.Pipe()
	said := &words{wanted: "held", seen: make(chan struct{}), each: func(word string) {
		if word == "waiting" {
			r.report(Output, "another launcher is setting this host up: waiting until it has ended")
		}
	}}
	ended := make(chan error, 1)
	go func() { ended <- r.Host.Run(ctx, sshx.Command{Line: holdLine, Stdin: in, Stdout: said}) }()
	select {
	case <-said.seen:
		r.unlock = func() { _ = keep.Close(); <-ended }
		return nil
	case err := <-ended:
		_ = keep.Close()
		if err == nil {
			return nil // a made-up host that runs nothing
		}
		return fmt.Errorf("locking the host: %w", err)
	}
}

// words tells of the lines that a command prints.
type words struct {
	wanted string
	seen   chan struct{} // closed when the wanted one has come
	each   func(string)

	mu   sync.Mutex
	rest []byte
	done bool
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		w.rest = rest
		w.each(string(line))
		if string(line) == w.wanted && !w.done {
			w.done = true
			close(w.seen)
		}
	}
}
