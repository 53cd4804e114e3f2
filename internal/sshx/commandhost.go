package sshx

import (
	"context"
	"io"
	"io/fs"
	"net"
	"time"
)

// CommandHost is a host on which commands can be run and nothing else: files
// are copied, and connections relayed, by commands.
type CommandHost struct {
	Name string
	// RunFunc is Run of Host.
	RunFunc func(ctx context.Context, cmd Command) error
	// DialLine gives the command that connects its input and output to an
	// address as the host sees it.
	DialLine func(address string) string
}

var _ Host = (*CommandHost)(nil)

// String names the host.
func (h *CommandHost) String() string { return h.Name }

// Close has nothing to do: each command has a connection of its own.
func (h *CommandHost) Close() error { return nil }

// Run implements Host.
func (h *CommandHost) Run(ctx context.Context, cmd Command) error { return h.RunFunc(ctx, cmd) }

// Upload implements Host.
func (h *CommandHost) Upload(ctx context.Context, local, remote string, filter Filter) error {
	return uploadStream(ctx, h, local, remote, filter)
}

// Download implements Host.
func (h *CommandHost) Download(ctx context.Context, remote, local string, filter Filter) error {
	return downloadStream(ctx, h, remote, local, filter)
}

// WriteFile implements Host.
func (h *CommandHost) WriteFile(ctx context.Context, remote string, data []byte, mode fs.FileMode) error {
	return writeByCommand(ctx, h, remote, data, mode)
}

// ReadFile implements Host.
func (h *CommandHost) ReadFile(ctx context.Context, remote string) ([]byte, error) {
	return readByCommand(ctx, h, remote)
}

// Forward implements Host.
func (h *CommandHost) Forward(ctx context.Context, local, remote string) (io.Closer, error) {
	return forward(ctx, local, func(ctx context.Context) (net.Conn, error) {
		return dialByCommand(ctx, h, h.DialLine(remote)), nil
	})
}

// runConn is a connection through the input and output of a command on a host.
type runConn struct {
	io.Reader
	io.WriteCloser
	cancel context.CancelFunc
	ended  chan struct{}
}

func dialByCommand(ctx context.Context, h Host, line string) net.Conn {
	ctx, cancel := context.WithCancel(ctx)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &runConn{Reader: outR, WriteCloser: inW, cancel: cancel, ended: make(chan struct{})}
	go func() { // ends with the command, which Close ends
		defer close(c.ended)
		err := h.Run(ctx, Command{Line: line, Stdin: inR, Stdout: outW})
		_ = inR.CloseWithError(io.ErrClosedPipe)
		_ = outW.CloseWithError(err)
	}()
	return c
}

// CloseWrite says that nothing more is sent.
func (c *runConn) CloseWrite() error { return c.WriteCloser.Close() }

// Close ends the command and waits for it.
func (c *runConn) Close() error {
	c.cancel()
	_ = c.WriteCloser.Close()
	_ = c.Reader.(*io.PipeReader).Close()
	<-c.ended
	return nil
}

func (c *runConn) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (c *runConn) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (c *runConn) SetDeadline(time.Time) error      { return nil }
func (c *runConn) SetReadDeadline(time.Time) error  { return nil }
func (c *runConn) SetWriteDeadline(time.Time) error { return nil }
