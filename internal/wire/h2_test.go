package wire

import (
	"crypto/tls"
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
