package wire

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// carrier is one connection of a session.
type carrier struct {
	conn net.Conn
	in   *Reader
	wake chan struct{}
	gone chan struct{}
	once sync.Once
	// under Session.mu:
	ackDue   bool
	ackTimer *time.Timer
	ackSent  uint64
	fresh    int // frames since the last ACK
	freshLen int // bytes since the last ACK
}

func newCarrier(conn net.Conn, in *Reader) *carrier {
	return &carrier{conn: conn, in: in, wake: make(chan struct{}, 1), gone: make(chan struct{})}
}

func (c *carrier) close() {
	c.once.Do(func() {
		close(c.gone)
		if t, ok := c.conn.(*tls.Conn); ok {
			_ = t.NetConn().Close() // TLS's own goodbye could wait for a full buffer
			return
		}
		_ = c.conn.Close()
	})
}

func (c *carrier) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// watch makes the kernel end a connection whose other machine or link is
// dead: within deadAfter, whether or not something is on its way.
func watch(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if r, ok := conn.(*reread); ok {
		conn = r.Conn
	}
	tc, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	// An error would mean that the connection is gone already: its reader notices.
	_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: pingEvery, Interval: pingEvery, Count: 3})
	if raw, err := tc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
		})
	}
}
