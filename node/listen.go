package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ray/internal/spec"
	"ray/internal/wire"
)

func (d *daemon) listen() error {
	var err error
	if d.unix, err = listenUnix(d.cfg.Socket); err != nil {
		return err
	}
	if d.port, err = d.listenForNodes(); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(d.port.Addr().String())
	if err != nil {
		return err
	}
	d.address = net.JoinHostPort(d.cfg.NodeIP, port)
	if err := d.serveMetrics(); err != nil {
		return err
	}
	d.listenForDrivers()
	return nil
}

// listenForNodes opens the port that was chosen, or any free one if another
// process has taken it since.
func (d *daemon) listenForNodes() (*wire.Listener, error) {
	at := func(port int) string { return net.JoinHostPort(d.cfg.BindHost, strconv.Itoa(port)) }
	l, err := wire.Listen(at(d.cfg.NodePort), d.auth)
	if d.cfg.NodePort != 0 && errors.Is(err, syscall.EADDRINUSE) {
		d.log.Warn("the port for other machines is in use: taking a free one", "port", d.cfg.NodePort)
		return wire.Listen(at(0), d.auth)
	}
	return l, err
}

// listenForDrivers opens the port for ray:// drivers, on loopback in any case:
// they come through tunnels, too.
func (d *daemon) listenForDrivers() {
	if d.cfg.ClientServerPort == 0 {
		return
	}
	hosts := []string{"127.0.0.1"}
	if h := d.cfg.ClientServerHost; h != "" && h != hosts[0] {
		hosts = append(hosts, h)
	}
	for _, host := range hosts {
		l, err := wire.Listen(net.JoinHostPort(host, strconv.Itoa(max(0, d.cfg.ClientServerPort))), d.auth)
		if err != nil {
			// A second cluster on the machine must not fail for it.
			d.log.Warn("no listener for ray:// drivers", "err", err)
			continue
		}
		d.clientPorts = append(d.clientPorts, l)
	}
}

// track and untrack know the local connections, so that shutdown can end them.
func (d *daemon) track(c net.Conn) bool {
	d.connMu.Lock()
	defer d.connMu.Unlock()
	if d.connsClosed {
		_ = c.Close()
		return false
	}
	d.conns[c] = struct{}{}
	return true
}

func (d *daemon) untrack(c net.Conn) {
	d.connMu.Lock()
	defer d.connMu.Unlock()
	delete(d.conns, c)
}

// watchOwner ends the daemon with the driver that it belongs to.
func (d *daemon) watchOwner() {
	if fd := d.cfg.OwnerFD; fd > 2 {
		f := os.NewFile(uintptr(fd), "owner")
		d.goes(func() {
			stop := context.AfterFunc(d.ctx, func() { _ = f.Close() })
			defer stop()
			var b [64]byte
			for {
				if _, err := f.Read(b[:]); err != nil {
					d.stop(errShutdown)
					return
				}
			}
		})
	}
	if pid := d.cfg.OwnerPID; pid > 0 {
		d.goes(func() {
			t := time.NewTicker(time.Second)
			defer t.Stop()
			for {
				select {
				case <-d.ctx.Done():
					return
				case <-t.C:
					if syscall.Kill(pid, 0) == syscall.ESRCH {
						d.stop(errShutdown)
						return
					}
				}
			}
		})
	}
}

// acceptRemote serves one connection of a ray:// driver.
func (d *daemon) acceptRemote(s *wire.Session, _ string) error {
	if !d.goes(func() { d.serveClient(wire.NewStream(s), true) }) {
		return &spec.ErrorInfo{Type: "ConnectionError", Message: "the daemon is stopping"}
	}
	return nil
}

// driverGrace is how long a ray:// driver may be without a connection before
// its job ends: RAY_CLIENT_RECONNECT_GRACE_PERIOD seconds.
func driverGrace() time.Duration {
	if s, err := strconv.ParseFloat(os.Getenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD"), 64); err == nil && s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	return 30 * time.Second
}

// samePeer lets only the daemon's own user (and root) in.
func samePeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if cerr != nil {
		return cerr
	}
	if int(cred.Uid) != os.Getuid() && cred.Uid != 0 {
		return fmt.Errorf("process %d of user %d may not connect to a daemon of user %d", cred.Pid, cred.Uid, os.Getuid())
	}
	return nil
}
