package sshx

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// Config says how a host is reached over SSH.
type Config struct {
	Address      string // host or host:port; a name may be one of the user's OpenSSH configuration
	User         string // "" means the configuration's, else the caller's own name
	KeyFile      string // "" means the agent and the usual files in ~/.ssh
	KnownHosts   string // file in which the host's key is pinned at first sight
	ProxyCommand string // as in OpenSSH, with %h, %p and %r; goes before ProxyJump of the configuration
	Env          map[string]string
	// Timeout bounds making a connection; 0 is 10 s.
	Timeout time.Duration

	// Of a jump host: the key of the host behind it, tried last, and the jump
	// hosts before it.
	spare   string
	through []string
}

// SSH is a host reached over one connection, which is made when it is first
// needed, shared by everything that runs there, and made again once lost.
type SSH struct {
	cfg Config

	mu     sync.Mutex // held while connecting, so that callers share one try
	client *ssh.Client
	hop    io.Closer // the proxy command or the jump host, if any
	depth  int       // of jump hosts that lead to this one
	unread error     // why some of the user's OpenSSH configuration is left out
}

var _ Host = (*SSH)(nil)

// NewSSH describes a host; nothing is connected yet.
func NewSSH(cfg Config) *SSH {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	return &SSH{cfg: cfg}
}

// String names the host.
func (s *SSH) String() string {
	if s.cfg.User == "" {
		return s.cfg.Address
	}
	return s.cfg.User + "@" + strings.TrimSuffix(s.cfg.Address, ":22")
}

// Close ends the connection.
func (s *SSH) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop()
}

func (s *SSH) drop() error {
	var err error
	if s.client != nil {
		err = s.client.Close()
		s.client = nil
	}
	if s.hop != nil {
		_ = s.hop.Close()
		s.hop = nil
	}
	return err
}

// connect gives the connection, making it if there is none.
func (s *SSH) connect(ctx context.Context) (*ssh.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	user, unread := readSettings()
	s.unread = unread
	to := user.route(s.cfg.Address, s.cfg.User, s.cfg.ProxyCommand)
	if len(s.cfg.through) > 0 {
		to.jumps, to.proxy = s.cfg.through, ""
	}
	conf, done, err := s.clientConfig(to)
	if err != nil {
		return nil, err
	}
	defer done()
	conn, err := s.dial(ctx, to)
	if err != nil {
		_ = s.drop()
		return nil, s.classify(err)
	}
	// The handshake knows no context: closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, to.address(), conf)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		_ = s.drop()
		if ctx.Err() != nil {
			err = context.DeadlineExceeded
		}
		return nil, s.classify(err)
	}
	s.client = ssh.NewClient(c, channels, requests)
	return s.client, nil
}

// session opens one channel; a connection found dead is made again once.
func (s *SSH) session(ctx context.Context) (*ssh.Session, error) {
	for try := 0; ; try++ {
		client, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		session, err := s.open(ctx, client)
		if err == nil {
			return session, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.mu.Lock()
		if s.client == client {
			_ = s.drop()
		}
		s.mu.Unlock()
		if try > 0 {
			return nil, s.classify(err)
		}
	}
}

// Run implements Host.
func (s *SSH) Run(ctx context.Context, c Command) error {
	session, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	session.Stdin, session.Stdout, session.Stderr = c.Stdin, c.Stdout, c.Stderr
	if c.TTY {
		restore, err := attachTerminal(session, &c)
		if err != nil {
			return err
		}
		defer restore()
	}
	mark := newMark()
	if err := session.Start(s.line(c, mark)); err != nil {
		return s.classify(err)
	}
	done := make(chan error, 1)
	go func() { done <- session.Wait() }() // ends with the command, at the latest with the connection
	select {
	case err := <-done:
		return s.exit(err)
	case <-ctx.Done():
	}
	s.doubt(s.current())
	for _, signal := range []string{"INT", "KILL"} {
		s.signal(ctx, mark, signal)
		select {
		case err := <-done:
			return s.exit(err)
		case <-time.After(killAfter):
		}
	}
	_ = session.Close()
	return ctx.Err()
}

// markVar marks the processes of one command. sshd passes signals on only for
// some users, and only to the shell; by the mark all of them are found.
const markVar = "RAY_SSH_COMMAND"

func newMark() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// signal sends a signal to what a command has started, on a channel beside it.
func (s *SSH) signal(ctx context.Context, mark, signal string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killAfter)
	defer cancel()
	session, err := s.session(ctx)
	if err != nil {
		return
	}
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer stop()
	_ = session.Run("for p in /proc/[0-9]*; do if grep -qz '^" + markVar + "=" + mark + "$' $p/environ 2>/dev/null; then kill -" + signal + " ${p#/proc/}; fi; done")
}

func (s *SSH) exit(err error) error {
	var exit *ssh.ExitError
	var missing *ssh.ExitMissingError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing):
		return &ConnError{Host: s.String(), Reason: Lost, Err: err, Hint: "the host went away while a command ran"}
	case !errors.As(err, &exit):
		return s.classify(err)
	case exit.Signal() != "":
		code := 128
		for n, name := range signalNames {
			if name == exit.Signal() {
				code += int(n)
			}
		}
		return &ExitError{Code: code, Signal: exit.Signal()}
	}
	e := &ExitError{Code: exit.ExitStatus()}
	// A shell reports a command's death by signal as 128 + n.
	if n := syscall.Signal(e.Code - 128); e.Code > 128 && signalNames[n] != "" {
		e.Signal = signalNames[n]
	}
	return e
}

// line is what the host's login shell gets: always one bash, so that a user
// whose shell is another one gets the same.
func (s *SSH) line(c Command, mark string) string {
	return "exec env " + markVar + "=" + mark + " bash " + c.bash(s.cfg.Env)
}

// Forward implements Host.
func (s *SSH) Forward(ctx context.Context, local, remote string) (io.Closer, error) {
	if _, err := s.connect(ctx); err != nil {
		return nil, err
	}
	return forward(ctx, local, func(ctx context.Context) (net.Conn, error) {
		client, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		return client.DialContext(ctx, "tcp", remote)
	})
}
