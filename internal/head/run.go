package head

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ray/internal/gcs"
	"ray/internal/head/scalerpc"
	"ray/internal/wire"
)

// Run serves until ctx is cancelled, then closes the listeners, hands the
// store back and waits for every goroutine. Ending the head ends no node.
func Run(ctx context.Context, cfg Config) error {
	store, err := openStore(cfg)
	if err != nil {
		return err
	}
	h, err := newHead(ctx, cfg, store)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	err = h.serve()
	h.close()
	return errors.Join(err, store.Close())
}

func openStore(cfg Config) (gcs.Store, error) {
	if cfg.StorePath == "" {
		return gcs.NewMemory(), nil
	}
	return gcs.OpenBolt(cfg.StorePath)
}

// auth finds the cluster's token.
func auth(cfg Config) (wire.Auth, error) {
	if cfg.AuthDisabled {
		return wire.Auth{Disabled: true}, nil
	}
	if cfg.TokenPath == "" {
		return wire.LoadToken()
	}
	return wire.LoadTokenFrom(func(name string) string {
		if name == "RAY_AUTH_TOKEN_PATH" {
			return cfg.TokenPath
		}
		return ""
	}, "")
}

// serve opens the ports and waits for the end.
func (h *Head) serve() error {
	a, err := auth(h.cfg)
	if err != nil {
		return err
	}
	host := h.cfg.ListenHost
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := wire.Listen(net.JoinHostPort(host, strconv.Itoa(h.cfg.Port)), a)
	if err != nil {
		return portError(h.cfg.Port, err)
	}
	h.setReady(l.Addr().(*net.TCPAddr).Port, host)
	if err := h.showCertificate(l.Certificate()); err != nil {
		return errors.Join(err, l.Close())
	}
	dash, err := h.startDashboard(a)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	sessions := &wire.Sessions{Self: "head", Accept: func(s *wire.Session, _ string) error {
		h.Accept(s)
		return nil
	}}
	scaling := scalerpc.New(scalable{h}, a)
	l.Serve(wire.Handlers{
		Sessions: sessions, Relay: func(c net.Conn) { h.relay(c, a) }, H2: scaling.Serve,
		Refused: func(remote net.Addr, err error) { h.log.Warn("a connection was refused", "from", remote, "err", err) },
	})
	defer func() {
		if dash != nil {
			dash.Close()
		}
		scaling.Close()
		_ = l.Close()
		sessions.Drop() // nodes wait for the next head process
	}()
	h.start()
	if err := h.startAutoscaler(a); err != nil {
		return err
	}
	defer h.stopAutoscaler()
	if err := h.announce(); err != nil {
		return err
	}
	<-h.ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

// CertificateFile, in the session's directory, is what a gRPC client of this
// head has to trust. Every head process has another one.
const CertificateFile = "head.crt"

func (h *Head) showCertificate(text []byte) error {
	if text == nil || h.cfg.SessionDir == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(h.cfg.SessionDir, CertificateFile), text, 0o600); err != nil {
		return fmt.Errorf("show the head's certificate: %w", err)
	}
	return nil
}

// announce tells whoever waits for the head that it serves.
func (h *Head) announce() error {
	if h.cfg.ReadyFile != "" {
		if err := writeReady(h.cfg.ReadyFile, h.ready); err != nil {
			return err
		}
	}
	h.log.Info("the head serves", "address", h.ready.Address, "dashboard", h.ready.Dashboard, "cluster", h.ready.ClusterID)
	if h.cfg.OnReady != nil {
		h.cfg.OnReady(h.ready)
	}
	return nil
}

// portError says what to do about a port that is taken.
func portError(port int, err error) error {
	if port != 0 && strings.Contains(err.Error(), "address already in use") {
		return fmt.Errorf("port %d is in use, perhaps by another cluster on this machine: stop that one (ray stop), or choose another with --port (%w)", port, err)
	}
	return err
}

func (h *Head) setReady(port int, listen string) {
	host := h.cfg.AdvertiseIP
	if host == "" {
		host = listen
		if ip := net.ParseIP(listen); ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = Ready{
		Address: net.JoinHostPort(host, strconv.Itoa(port)), Port: port, ClusterID: h.tables.ClusterID(),
		SessionName: h.cfg.SessionName, PID: os.Getpid(),
	}
}
