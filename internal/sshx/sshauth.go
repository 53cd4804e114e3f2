package sshx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// clientConfig gathers keys and pins the host's key. done closes the agent.
func (s *SSH) clientConfig(to route) (conf *ssh.ClientConfig, done func(), err error) {
	methods, done, err := s.keys(to)
	if err != nil {
		return nil, nil, err
	}
	algorithms, check := pinned(s.cfg.KnownHosts, to.address())
	return &ssh.ClientConfig{
		User: to.user, Auth: methods, HostKeyCallback: check, HostKeyAlgorithms: algorithms, Timeout: s.cfg.Timeout,
	}, done, nil
}

// keys lists what the user can prove: the given key alone, or the agent, the
// files that the configuration names and the usual ones.
func (s *SSH) keys(to route) ([]ssh.AuthMethod, func(), error) {
	held, done := agentKeys()
	if s.cfg.KeyFile != "" {
		signer, err := openKey(s.cfg.KeyFile, held)
		if err != nil {
			done()
			hint := "auth.ssh_private_key must name a private key file that you can read"
			var locked *ssh.PassphraseMissingError
			if errors.As(err, &locked) {
				hint = "the key has a passphrase: run `ssh-add " + Quote(s.cfg.KeyFile) + "`, so that the SSH agent holds it"
			}
			return nil, nil, &ConnError{Host: s.String(), Reason: NoHostKey, Err: err, Hint: hint}
		}
		return []ssh.AuthMethod{ssh.PublicKeys(signer)}, done, nil
	}
	files := to.keys
	if !to.onlyOwn {
		home, _ := os.UserHomeDir()
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			files = append(files, filepath.Join(home, ".ssh", name))
		}
	}
	if s.cfg.spare != "" {
		files = append(files, s.cfg.spare)
	}
	var signers []ssh.Signer
	for _, file := range files {
		if signer, err := openKey(file, held); err == nil {
			signers = append(signers, signer)
		}
	}
	if !to.onlyOwn {
		signers = append(held, signers...)
	}
	if len(signers) == 0 {
		done()
		return nil, nil, &ConnError{Host: s.String(), Reason: NoHostKey,
			Hint: "there is no SSH agent and no key in ~/.ssh; give auth.ssh_private_key in the cluster file or run ssh-keygen"}
	}
	return []ssh.AuthMethod{ssh.PublicKeys(signers...)}, done, nil
}

// agentKeys are the keys that the user's SSH agent holds, none without one.
// They sign until done is called.
func agentKeys() (held []ssh.Signer, done func()) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, func() {}
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, func() {}
	}
	held, _ = agent.NewClient(conn).Signers()
	return held, func() { _ = conn.Close() }
}

// openKey reads a key file; the agent stands in for one with a passphrase.
func openKey(file string, held []ssh.Signer) (ssh.Signer, error) {
	signer, err := readKey(file)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		return signer, err
	}
	public := locked.PublicKey
	if public == nil { // an old format does not say; the other half does
		if data, perr := os.ReadFile(file + ".pub"); perr == nil {
			public, _, _, _, _ = ssh.ParseAuthorizedKey(data)
		}
	}
	for _, h := range held {
		if public != nil && bytes.Equal(h.PublicKey().Marshal(), public.Marshal()) {
			return h, nil
		}
	}
	return nil, err
}

// CheckKey tells whether the file can be used as a private key; one with a
// passphrase can, by the agent.
func CheckKey(file string) error {
	_, err := readKey(file)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil
	}
	return err
}

func readKey(file string) (ssh.Signer, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return signer, nil
}

// pinMu keeps two first connections from writing one known-hosts file at once.
var pinMu sync.Mutex

// pinned checks a host's key against the file, and writes it there when the
// host is new. The algorithms are those of the known keys, so that a host with
// several keys shows one that is known.
func pinned(file, address string) ([]string, ssh.HostKeyCallback) {
	known := func(host string, remote net.Addr, key ssh.PublicKey) error {
		if _, err := os.Stat(file); err != nil {
			return &knownhosts.KeyError{}
		}
		check, err := knownhosts.New(file)
		if err != nil {
			return err
		}
		return check(host, remote, key)
	}
	var algorithms []string
	var keyErr *knownhosts.KeyError
	if err := known(address, &net.TCPAddr{IP: net.IPv4zero}, noKey{}); errors.As(err, &keyErr) {
		for _, k := range keyErr.Want {
			switch t := k.Key.Type(); t {
			case ssh.KeyAlgoRSA:
				algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			default:
				algorithms = append(algorithms, t)
			}
		}
	}
	return algorithms, func(host string, remote net.Addr, key ssh.PublicKey) error {
		pinMu.Lock()
		defer pinMu.Unlock()
		err := known(host, remote, key)
		var keyErr *knownhosts.KeyError
		if !errors.As(err, &keyErr) || len(keyErr.Want) > 0 {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(f, knownhosts.Line([]string{knownhosts.Normalize(host)}, key))
		return errors.Join(err, f.Close())
	}
}

// noKey is a key that no host has; asking for it lists the known ones.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// classify says in which way a host could not be reached, and what to do.
func (s *SSH) classify(err error) error {
	var known *ConnError
	if errors.As(err, &known) { // of a jump host
		e := *known
		e.Host = s.String() + " by way of " + known.Host
		return &e
	}
	var refused *ssh.OpenChannelError
	e := &ConnError{Host: s.String(), Reason: Lost, Err: err}
	var dns *net.DNSError
	var key *knownhosts.KeyError
	var timeout interface{ Timeout() bool }
	var auth *ssh.ServerAuthError
	switch {
	case errors.As(err, &refused) && refused.Reason == ssh.ConnectionFailed:
		e.Reason, e.Hint = Refused, "the jump host cannot reach it: is sshd running there, and is its address known to the jump host?"
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		e.Hint = "the jump host forwards nothing: set AllowTcpForwarding yes in its sshd_config"
	case errors.As(err, &dns):
		e.Reason, e.Hint = Unknown, "check the host's name"
	case errors.As(err, &key):
		e.Reason = KeyBad
		e.Hint = "if the host was made anew, remove its line from " + s.cfg.KnownHosts
	case errors.As(err, &auth), strings.Contains(err.Error(), "unable to authenticate"):
		// The client side of the library has no type for this.
		e.Reason = AuthBad
		e.Hint = "check auth.ssh_user and auth.ssh_private_key, and that the public key is in the host's authorized_keys"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason, e.Hint = Refused, "is sshd running there, and on this port?"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Reason, e.Hint = TimedOut, "check the address, and that the firewall lets SSH in"
	}
	if s.unread != nil {
		e.Hint += fmt.Sprintf(" (left out, since it was not understood: %v)", s.unread)
	}
	return e
}

// commandConn is a connection through the input and output of a command.
type commandConn struct {
	io.Reader
	io.WriteCloser
	cmd  *exec.Cmd
	once sync.Once
}

func dialCommand(line string) (*commandConn, error) {
	cmd := exec.Command("sh", "-c", "exec "+line)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &commandConn{Reader: out, WriteCloser: in, cmd: cmd}, nil
}

// Close ends the command and waits for it.
func (c *commandConn) Close() error {
	c.once.Do(func() {
		_ = c.WriteCloser.Close()
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGTERM)
		_ = c.cmd.Wait()
	})
	return nil
}

func (c *commandConn) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (c *commandConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4zero} }
func (c *commandConn) SetDeadline(time.Time) error      { return nil }
func (c *commandConn) SetReadDeadline(time.Time) error  { return nil }
func (c *commandConn) SetWriteDeadline(time.Time) error { return nil }
