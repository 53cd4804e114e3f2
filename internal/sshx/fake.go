package sshx

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// Fake is a made-up host for tests: it records what it is asked and answers
// what it is told. The zero value is a host on which everything succeeds.
type Fake struct {
	Name string
	// OnRun decides the outcome of a command; nil means success without output.
	OnRun func(ctx context.Context, c Command) error

	mu       sync.Mutex
	Commands []Command
	Uploads  [][2]string // local, remote
	Files    map[string][]byte
	Closed   bool
}

var _ Host = (*Fake)(nil)

// String names the host.
func (f *Fake) String() string { return f.Name }

// Run records the command and asks OnRun.
func (f *Fake) Run(ctx context.Context, c Command) error {
	f.mu.Lock()
	f.Commands = append(f.Commands, c)
	f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.OnRun == nil {
		return nil
	}
	return f.OnRun(ctx, c)
}

// Lines are the command lines so far.
func (f *Fake) Lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for _, c := range f.Commands {
		lines = append(lines, c.Line)
	}
	return lines
}

// Upload records the copy, and keeps the contents of a single file.
func (f *Fake) Upload(_ context.Context, local, remote string, _ Filter) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Uploads = append(f.Uploads, [2]string{local, remote})
	if data, err := os.ReadFile(local); err == nil {
		f.put(remote, data)
	}
	return nil
}

func (f *Fake) put(path string, data []byte) {
	if f.Files == nil {
		f.Files = map[string][]byte{}
	}
	f.Files[path] = data
}

// Download writes what was written or uploaded under the path.
func (f *Fake) Download(ctx context.Context, remote, local string, _ Filter) error {
	data, err := f.ReadFile(ctx, remote)
	if err != nil {
		return err
	}
	return os.WriteFile(local, data, 0o600)
}

// WriteFile keeps the contents.
func (f *Fake) WriteFile(_ context.Context, remote string, data []byte, _ fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(remote, data)
	return nil
}

// ReadFile gives what was kept.
func (f *Fake) ReadFile(_ context.Context, remote string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.Files[remote]
	if !ok {
		return nil, fmt.Errorf("%s: %s: %w", f.Name, remote, fs.ErrNotExist)
	}
	return data, nil
}

// Forward refuses: there is nothing to connect to.
func (f *Fake) Forward(context.Context, string, string) (io.Closer, error) {
	return nil, fmt.Errorf("%s: a made-up host forwards no ports", f.Name)
}

// Close notes that it was called.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Closed = true
	return nil
}
