package sshx

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"
)

// attachTerminal gives the session a terminal of the size of ours, follows its
// changes, and puts ours into raw mode. The returned function undoes all.
func attachTerminal(session *ssh.Session, c *Command) (restore func(), err error) {
	fd := int(os.Stdin.Fd())
	width, height, err := term.GetSize(fd)
	if err != nil {
		width, height = 80, 24
	}
	kind := os.Getenv("TERM")
	if kind == "" {
		kind = "xterm"
	}
	if err := session.RequestPty(kind, height, width, ssh.TerminalModes{ssh.ECHO: 1}); err != nil {
		return nil, err
	}
	session.Stdin, session.Stdout, session.Stderr = os.Stdin, os.Stdout, os.Stderr
	if c.Stdin != nil {
		session.Stdin = c.Stdin
	}
	if c.Stdout != nil {
		session.Stdout, session.Stderr = c.Stdout, c.Stdout
	}
	restore = func() {}
	if state, err := term.MakeRaw(fd); err == nil {
		restore = func() { _ = term.Restore(fd, state) }
	}
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-changes:
				if w, h, err := term.GetSize(fd); err == nil {
					_ = session.WindowChange(h, w)
				}
			}
		}
	}()
	raw := restore
	return func() {
		signal.Stop(changes)
		close(done)
		<-ended
		raw()
	}, nil
}
