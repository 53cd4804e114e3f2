package wire

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"ray/internal/spec"
)

// Handlers are what a Listener does with admitted connections. A nil one
// refuses its kind.
type Handlers struct {
	// Client takes the connections of sessions that carry client frames.
	Client *Sessions
	// Relay gets them instead, for a process that hands them on. It runs in a
	// goroutine of its own; the connection is closed when it returns, or by
	// Close.
	Relay func(net.Conn)
	// Bulk is the same for object bytes.
	Bulk func(net.Conn)
	// Witness is the same for questions about the head.
	Witness func(net.Conn)
	// H2 gets the connections of HTTP/2 clients, like Relay, once TLS stands;
	// those from this machine may come without. They have proved nothing yet:
	// H2 must ask every request for the token.
	H2 func(net.Conn)
	// Sessions takes the connections of sessions.
	Sessions *Sessions
	// Refused is told of connections that were not admitted.
	Refused func(remote net.Addr, err error)
}

// Listener is a process's one port for other machines: TLS, the token
// exchange, and dispatch by kind. HTTP/2 is told apart by ALPN or, without
// TLS, by how it begins. TLS is asked of everybody, except of HTTP/2 clients
// on the same machine: upstream's have no TLS unless it is set up for them.
type Listener struct {
	auth Auth
	l    net.Listener
	conf *tls.Config
	hash []byte

	mu     sync.Mutex
	h      Handlers
	conns  map[net.Conn]struct{}
	closed bool
	wg     sync.WaitGroup
}

// Listen binds address. With auth.Disabled only loopback addresses are
// accepted. Nothing is answered before Serve.
func Listen(address string, auth Auth) (*Listener, error) {
	ln := &Listener{auth: auth, conns: map[net.Conn]struct{}{}, hash: make([]byte, sha256.Size)}
	if auth.Disabled {
		if err := onlyLoopback(address); err != nil {
			return nil, err
		}
	} else {
		cert, err := newCertificate()
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(cert.Certificate[0])
		ln.hash = sum[:]
		ln.conf = &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{alpn},
			Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true,
		}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	ln.l = l
	return ln, nil
}

// onlyLoopback resolves the host of address.
func onlyLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("listen on %s: with RAY_AUTH_MODE=disabled only a loopback address is allowed, because anybody who reaches the port could run code; use 127.0.0.1 or a token", address)
}

// Certificate is what a client has to trust, in PEM; nil without TLS.
func (ln *Listener) Certificate() []byte {
	if ln.conf == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ln.conf.Certificates[0].Certificate[0]})
}

// Addr is the address that is bound, with its real port.
func (ln *Listener) Addr() net.Addr { return ln.l.Addr() }

// Serve starts to accept, in a goroutine that Close ends.
func (ln *Listener) Serve(h Handlers) {
	ln.h = h
	if ln.conf != nil && h.H2 != nil {
		ln.conf.NextProtos = append(ln.conf.NextProtos, alpnH2)
	}
	ln.wg.Go(func() {
		for {
			conn, err := ln.l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // out of descriptors, or the caller gave up: try again
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if ln.track(conn) {
				ln.wg.Go(func() { ln.handle(conn) })
			}
		}
	})
}

func (ln *Listener) track(conn net.Conn) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.closed {
		_ = conn.Close()
		return false
	}
	ln.conns[conn] = struct{}{}
	return true
}

// handle owns raw until it returns, unless a session takes it over.
func (ln *Listener) handle(raw net.Conn) {
	kept := false
	forget := func() {
		ln.mu.Lock()
		delete(ln.conns, raw)
		ln.mu.Unlock()
	}
	defer func() {
		forget()
		if !kept {
			_ = raw.Close()
		}
	}()
	_ = raw.SetDeadline(time.Now().Add(helloTimeout))
	conn, kind, err := ln.meet(raw)
	if err != nil {
		ln.refused(raw, err)
		return
	}
	var serve func(net.Conn)
	switch {
	case kind == kindH2 || kind == KindGRPC:
		serve = ln.h.H2
	case kind == KindClient && ln.h.Client != nil:
		serve = func(c net.Conn) { kept = ln.h.Client.serve(c, forget) }
	case kind == KindClient:
		serve = ln.h.Relay
	case kind == KindBulk:
		serve = ln.h.Bulk
	case kind == KindWitness:
		serve = ln.h.Witness
	case kind == KindSession && ln.h.Sessions != nil:
		serve = func(c net.Conn) { kept = ln.h.Sessions.serve(c, forget) }
	}
	if serve == nil {
		err := &spec.ErrorInfo{Type: "ConnectionError", Message: fmt.Sprintf("this process serves no connections of kind %q", kind)}
		refuse(conn, err)
		ln.refused(raw, err)
		return
	}
	if kind != kindH2 {
		if _, err := conn.Write([]byte{0}); err != nil {
			return
		}
	}
	_ = raw.SetDeadline(time.Time{})
	serve(conn)
	if !kept {
		_ = raw.SetDeadline(time.Now().Add(closeGrace)) // TLS says goodbye on Close
		_ = conn.Close()
	}
}

// meet finds out what comes over raw, and who sends it unless it is HTTP/2. It
// returns the connection to go on with.
func (ln *Listener) meet(raw net.Conn) (net.Conn, byte, error) {
	conn := raw
	if ln.conf != nil {
		if ln.h.H2 != nil && sameMachine(raw) {
			said, h2, err := speaksH2(raw)
			if err != nil || h2 {
				return said, kindH2, err
			}
			conn = said
		}
		conn = tls.Server(conn, ln.conf)
	}
	said := conn
	if ln.h.H2 != nil {
		var h2 bool
		var err error
		if said, h2, err = speaksH2(conn); err != nil || h2 {
			return said, kindH2, err
		}
	}
	kind, err := ln.auth.admit(said, ln.hash)
	if err == nil && kind == kindH2 {
		err = fmt.Errorf("%w: kind %d", ErrMalformed, kind)
	}
	return conn, kind, err // admit has read what said had kept
}

func (ln *Listener) refused(raw net.Conn, err error) {
	if ln.h.Refused != nil {
		ln.h.Refused(raw.RemoteAddr(), err)
	}
}

// Close stops accepting, closes the connections that handlers still have and
// waits for the handlers. Sessions are closed by their own table.
func (ln *Listener) Close() error {
	err := ln.l.Close()
	ln.mu.Lock()
	ln.closed = true
	for c := range ln.conns {
		_ = c.Close()
	}
	ln.mu.Unlock()
	ln.wg.Wait()
	return err
}
