package wire

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestH2IsToldApart checks that HTTP/2 reaches its handler whole, with TLS and
// without, and that frames still reach theirs on the same port.
func TestH2IsToldApart(t *testing.T) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for _, auth := range []Auth{testAuth, {Disabled: true}} {
		got := make(chan string, 1)
		bulk := make(chan string, 1)
		read := func(n int, to chan string) func(net.Conn) {
			return func(c net.Conn) {
				b := make([]byte, n)
				_, _ = io.ReadFull(c, b)
				to <- string(b)
			}
		}
		ln, err := Listen("127.0.0.1:0", auth)
		if err != nil {
			t.Fatal(err)
		}
		ln.Serve(Handlers{H2: read(len(preface), got), Bulk: read(5, bulk)})
		t.Cleanup(func() { _ = ln.Close() })
		address := ln.Addr().String()

		var c net.Conn
		if auth.Disabled {
			c, err = net.Dial("tcp", address)
		} else {
			c, err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		for _, part := range []string{preface[:2], preface[2:]} {
			if _, err := c.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		expectText(t, got, preface)

		b, err := Dialer{Auth: auth}.Dial(t.Context(), address, KindBulk)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = b.Close() }()
		if _, err := b.Write([]byte("bytes")); err != nil {
			t.Fatal(err)
		}
		expectText(t, bulk, "bytes")
	}
}

func expectText(t *testing.T, from chan string, want string) {
	t.Helper()
	select {
	case text := <-from:
		if text != want {
			t.Fatalf("got %q, want %q", text, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%q did not arrive", want)
	}
}

// TestH2NeedsAHandler checks that a port without one does not offer it, and
// that nobody gets there by a kind byte.
func TestH2NeedsAHandler(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", testAuth)
	if err != nil {
		t.Fatal(err)
	}
	ln.Serve(Handlers{})
	t.Cleanup(func() { _ = ln.Close() })
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err == nil {
		_ = c.Close()
		t.Fatal("a port without HTTP/2 has agreed to it")
	}
	if !strings.Contains(err.Error(), "no application protocol") {
		t.Fatal(err)
	}
	if _, err := (Dialer{Auth: testAuth}).Dial(t.Context(), ln.Addr().String(), kindH2); err == nil {
		t.Fatal("kind 0 was admitted")
	}
}

// ends are those of a connection.
type ends struct {
	net.Conn
	local, remote string
}

func (e ends) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.ParseIP(e.local), Port: 1} }
func (e ends) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(e.remote), Port: 2} }

// TestPlaintextStaysOnTheMachine checks who may come without TLS although there
// is a token: HTTP/2, from the same machine.
func TestPlaintextStaysOnTheMachine(t *testing.T) {
	for _, c := range []struct {
		local, remote string
		want          bool
	}{
		{"127.0.0.1", "127.0.0.1", true}, {"::1", "::1", true}, {"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false}, {"127.0.0.1", "10.0.0.2", false}, {"::1", "fe80::1", false},
	} {
		if got := sameMachine(ends{local: c.local, remote: c.remote}); got != c.want {
			t.Errorf("from %s to %s: %v", c.remote, c.local, got)
		}
	}
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for _, handler := range []bool{true, false} {
		got, refused := make(chan string, 1), make(chan string, 1)
		ln, err := Listen("127.0.0.1:0", testAuth)
		if err != nil {
			t.Fatal(err)
		}
		h := Handlers{Refused: func(net.Addr, error) { refused <- "refused" }}
		if handler {
			h.H2 = func(c net.Conn) {
				b := make([]byte, len(preface))
				_, _ = io.ReadFull(c, b)
				got <- string(b)
			}
		}
		ln.Serve(h)
		t.Cleanup(func() { _ = ln.Close() })
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Write([]byte(preface)); err != nil {
			t.Fatal(err)
		}
		if handler {
			expectText(t, got, preface)
		} else {
			expectText(t, refused, "refused")
		}
	}
}

// TestCertificateNamesTheMachine checks that a client that trusts the
// certificate may reach the head by an address.
func TestCertificateNamesTheMachine(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", testAuth)
	if err != nil {
		t.Fatal(err)
	}
	ln.Serve(Handlers{H2: func(net.Conn) {}})
	t.Cleanup(func() { _ = ln.Close() })
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ln.Certificate()) {
		t.Fatalf("no certificate in %q", ln.Certificate())
	}
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
