package sshx

import (
	"context"
	"io"
	"io/fs"
	"maps"
)

// Container is a host that is a container on another host, reached through the
// engine's command there. It shares the host's network, so ports are the same.
type Container struct {
	// Outer is the host that runs the container; Close closes it.
	Outer Host
	// Engine is the command: docker or podman.
	Engine string
	// Name of the container.
	Name string
	// Env is set for every command.
	Env map[string]string
}

var _ Host = (*Container)(nil)

// String names the container and its host.
func (c *Container) String() string { return c.Name + " on " + c.Outer.String() }

// Close closes the connection to the outer host.
func (c *Container) Close() error { return c.Outer.Close() }

// Run implements Host.
func (c *Container) Run(ctx context.Context, cmd Command) error {
	outer, mark := cmd, newMark()
	outer.Env, outer.Login = nil, false
	outer.Line = c.line(cmd, mark)
	err := c.Outer.Run(ctx, outer)
	if ctx.Err() != nil {
		c.end(ctx, mark)
	}
	return err
}

// end ends what a command has started in the container: the engine's command
// is gone, and does not take it along.
func (c *Container) end(ctx context.Context, mark string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*killAfter)
	defer cancel()
	find := func(signal string) string {
		return "n=0; for p in /proc/[0-9]*; do if grep -qz '^" + markVar + "=" + mark + "$' $p/environ 2>/dev/null; then n=1; kill -" + signal + " ${p#/proc/}; fi; done; "
	}
	line := find("INT") + "for i in 1 2 3 4 5 6 7 8 9 10; do " + find("0") + "[ $n = 0 ] && exit 0; sleep 0.5; done; " + find("KILL")
	_ = c.Outer.Run(ctx, Command{Line: c.Engine + " exec " + Quote(c.Name) + " /bin/bash -c " + Quote(line)})
}

// line is the engine's command for a command line. Variables are exported
// after start-up files, in the shell, so that they win and do not show in the
// engine's own list of processes.
func (c *Container) line(cmd Command, mark string) string {
	env := map[string]string{markVar: mark}
	maps.Copy(env, c.Env)
	if cmd.Line != "" {
		cmd.Line = "cd; " + cmd.Line
	}
	flags := "-i"
	if cmd.TTY {
		flags = "-it"
	}
	return c.Engine + " exec " + flags + " -e " + markVar + "=" + mark + " " + Quote(c.Name) + " /bin/bash " + cmd.bash(env)
}

// Upload implements Host.
func (c *Container) Upload(ctx context.Context, local, remote string, filter Filter) error {
	return uploadStream(ctx, c, local, remote, filter)
}

// Download implements Host.
func (c *Container) Download(ctx context.Context, remote, local string, filter Filter) error {
	return downloadStream(ctx, c, remote, local, filter)
}

// WriteFile implements Host.
func (c *Container) WriteFile(ctx context.Context, remote string, data []byte, mode fs.FileMode) error {
	return writeByCommand(ctx, c, remote, data, mode)
}

// ReadFile implements Host.
func (c *Container) ReadFile(ctx context.Context, remote string) ([]byte, error) {
	return readByCommand(ctx, c, remote)
}

// Forward implements Host: the container has its host's ports.
func (c *Container) Forward(ctx context.Context, local, remote string) (io.Closer, error) {
	return c.Outer.Forward(ctx, local, remote)
}
