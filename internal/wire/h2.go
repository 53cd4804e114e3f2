package wire

import (
	"crypto/tls"
	"io"
	"net"
)

// speaksH2 ends the TLS handshake of conn, if it has one to make, and tells
// whether HTTP/2 follows. What comes back is conn with the first bytes, which
// without TLS had to be read, to be read once more.
func speaksH2(conn net.Conn) (net.Conn, bool, error) {
	if c, ok := conn.(*tls.Conn); ok {
		err := c.Handshake() // under the connection's deadline
		return c, c.ConnectionState().NegotiatedProtocol == alpnH2, err
	}
	// Its preface begins with "PRI " (RFC 9113, section 3.4), ours with magic,
	// and TLS with a record.
	first := make([]byte, len(magic))
	if _, err := io.ReadFull(conn, first); err != nil {
		return conn, false, err
	}
	return &reread{Conn: conn, first: first}, string(first) == "PRI ", nil
}

// sameMachine tells whether the other end of conn is on this machine: what is
// said over it never leaves the machine.
func sameMachine(conn net.Conn) bool {
	from, ok := conn.RemoteAddr().(*net.TCPAddr)
	to, also := conn.LocalAddr().(*net.TCPAddr)
	return ok && also && (from.IP.IsLoopback() || from.IP.Equal(to.IP))
}

// reread gives first once more before it reads on.
type reread struct {
	net.Conn
	first []byte
}

func (c *reread) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}
