package sshx

import (
	"context"
	"time"

	"golang.org/x/crypto/ssh"
)

// A host that has lost its link or was started again says nothing more, and the
// kernel takes minutes to give the connection up. Whoever waited too long for an
// answer has the connection asked for a sign of life; without one it is closed,
// and the next command makes another.

// open opens a channel within ctx, which the library does not know.
func (s *SSH) open(ctx context.Context, client *ssh.Client) (*ssh.Session, error) {
	type opened struct {
		session *ssh.Session
		err     error
	}
	got := make(chan opened, 1)
	go func() { // ends with the answer, at the latest with the connection
		session, err := client.NewSession()
		got <- opened{session, err}
	}()
	select {
	case o := <-got:
		return o.session, o.err
	case <-ctx.Done():
	}
	s.doubt(client)
	go func() { // as the one above
		if o := <-got; o.err == nil {
			_ = o.session.Close()
		}
	}()
	return nil, ctx.Err()
}

// current is the connection that there is, nil if there is none or one is being
// made just now.
func (s *SSH) current() *ssh.Client {
	if !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	return s.client
}

// doubt closes the connection unless the host answers on it soon.
func (s *SSH) doubt(client *ssh.Client) {
	if client == nil {
		return
	}
	silent := time.AfterFunc(killAfter, func() { _ = client.Close() })
	go func() { // ends with the answer or with the connection
		_, _, _ = client.SendRequest("keepalive@openssh.com", true, nil)
		silent.Stop()
	}()
}
