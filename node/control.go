package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
)

// serveControl reads the control connection of a client.
func (d *daemon) serveControl(conn net.Conn, r *wire.Reader, h *wire.Hello) {
	d.mu.Lock()
	c := d.byID[h.ClientID]
	d.mu.Unlock()
	if c == nil {
		fatal(conn, &spec.ErrorInfo{Type: "ConnectionError", Message: "control connection of a client that is not connected: " + h.ClientID})
		return
	}
	ok := d.helloOK(c)
	ok.ClientID = c.id
	if err := d.writeHello(conn, ok, false); err != nil {
		return
	}
	out := wire.NewOut(conn)
	d.locked(func() {
		c.ctlNC = conn
		d.controlJoined(c, out)
		if c.gone {
			_ = conn.Close()
		}
	})
	for {
		f, err := r.Next()
		if err != nil {
			break
		}
		d.locked(func() { err = d.controlFrame(c, &f) })
		if err != nil {
			d.log.Warn("control connection is closed", "client", c.id, "err", err)
			break
		}
	}
	d.locked(func() { c.ctl = nil })
	_ = out.Close(100 * time.Millisecond)
}

// controlJoined: orders for c can be sent from now on.
func (d *daemon) controlJoined(c *client, out *wire.Out) {
	c.ctl = out
	if c.worker != nil {
		d.workerConnected(c)
	}
}

func (d *daemon) controlFrame(c *client, f *wire.Frame) error {
	switch f.Type {
	case wire.TRecalled:
		epoch, seq, err := wire.DecodePair(f.Type, f.Body)
		if err == nil && c.worker != nil && c.worker.pw != nil {
			d.pool.Recalled(c.worker.pw, epoch, seq, d.now())
		}
		return err
	case wire.TNote, wire.TCall:
		var m wire.Call
		if err := m.Decode(f.Body); err != nil {
			return err
		}
		d.clientCall(c, &m, c.ctl)
		return nil
	}
	return &spec.ErrorInfo{Type: "RuntimeError", Message: fmt.Sprintf("frame %s does not belong on a control connection", f.Type)}
}

// listenUnix makes the socket for local clients.
func listenUnix(path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(dirOf(path), 0o700); err != nil {
		return nil, err
	}
	_ = os.Remove(path) // a stale one of an ended daemon
	old := syscall.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// acceptLocal serves local clients until the listener is closed.
func (d *daemon) acceptLocal(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err := samePeer(conn); err != nil {
			d.log.Warn("local connection refused", "err", err)
			_ = conn.Close()
			continue
		}
		if !d.track(conn) {
			continue
		}
		d.tasks.Go(func() {
			defer d.untrack(conn)
			d.serveClient(conn, false)
		})
	}
}
