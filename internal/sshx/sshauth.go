package sshx

import (
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
func (s *SSH) clientConfig() (conf *ssh.ClientConfig, done func(), err error) {
	methods, done, err := s.keys()
	if err != nil {
		return nil, nil, err
	}
	algorithms, check := pinned(s.cfg.KnownHosts, s.cfg.Address)
	return &ssh.ClientConfig{
		User: s.cfg.User, Auth: methods, HostKeyCallback: check, HostKeyAlgorithms: algorithms, Timeout: s.cfg.Timeout,
	}, done, nil
}

// keys lists what the user can prove: the given key alone, or the agent and
// the usual files.
func (s *SSH) keys() ([]ssh.AuthMethod, func(), error) {
	nothing := func() {}
	if s.cfg.KeyFile != "" {
		signer, err := readKey(s.cfg.KeyFile)
		if err != nil {
			return nil, nil, &ConnError{Host: s.String(), Reason: NoHostKey, Err: err,
				Hint: "auth.ssh_private_key must name a key file without a passphrase that you can read"}
		}
		return []ssh.AuthMethod{ssh.PublicKeys(signer)}, nothing, nil
	}
	var methods []ssh.AuthMethod
	if socket := os.Getenv("SSH_AUTH_SOCK"); socket != "" {
		if conn, err := net.Dial("unix", socket); err == nil {
			methods = append(methods, ssh.PublicKeysCallback(agent.NewClient(conn).Signers))
			nothing = func() { _ = conn.Close() }
		}
	}
	home, _ := os.UserHomeDir()
	var signers []ssh.Signer
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if signer, err := readKey(filepath.Join(home, ".ssh", name)); err == nil {
			signers = append(signers, signer)
		}
	}
	if len(signers) > 0 {
		methods = append(methods, ssh.PublicKeys(signers...))
	}
	if len(methods) == 0 {
		return nil, nil, &ConnError{Host: s.String(), Reason: NoHostKey,
			Hint: "there is no SSH agent and no key in ~/.ssh; give auth.ssh_private_key in the cluster file or run ssh-keygen"}
	}
	return methods, nothing, nil
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
	e := &ConnError{Host: s.String(), Reason: Lost, Err: err}
	var dns *net.DNSError
	var key *knownhosts.KeyError
	var timeout interface{ Timeout() bool }
	var auth *ssh.ServerAuthError
	switch {
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
	return e
}

// isFile tells whether path is there and no directory.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
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
