package head

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"ray/internal/dashboard"
	"ray/internal/spec"
	"ray/internal/wire"
)

// DefaultDashboardPort is where people expect it.
const DefaultDashboardPort = 8265

// portsToTry is how many ports after the first are tried.
const portsToTry = 100

// startDashboard opens the HTTP port; nil without a dashboard.
func (h *Head) startDashboard(a wire.Auth) (*dashboard.Server, error) {
	if h.cfg.NoDashboard {
		return nil, nil
	}
	host := h.cfg.DashboardHost
	if host == "" || host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); a.Disabled && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("dashboard on %s: with RAY_AUTH_MODE=disabled only a loopback address is allowed, because anybody who reaches the port could run code; use 127.0.0.1 or a token", host)
	}
	l, err := h.listenHTTP(host)
	if err != nil {
		return nil, err
	}
	shown := host
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		shown = "127.0.0.1"
		if h.cfg.AdvertiseIP != "" {
			shown = h.cfg.AdvertiseIP
		}
	}
	h.mu.Lock()
	h.ready.Dashboard = net.JoinHostPort(shown, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	h.mu.Unlock()
	return dashboard.Serve(l, dashboard.Options{Source: cluster{h}, Jobs: h.jobs.Register, Token: a.Token, Log: h.log}), nil
}

// listenHTTP takes the configured port, or the next free one.
func (h *Head) listenHTTP(host string) (net.Listener, error) {
	first := h.cfg.DashboardPort
	if first == 0 {
		first = DefaultDashboardPort
	}
	for port := first; ; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			return l, nil
		}
		taken := strings.Contains(err.Error(), "address already in use")
		if taken && h.cfg.DashboardPortExplicit {
			return nil, fmt.Errorf("dashboard port %d is in use: stop what uses it, or choose another with --dashboard-port (%w)", port, err)
		}
		if !taken || port-first >= portsToTry {
			return nil, fmt.Errorf("dashboard: %w", err)
		}
	}
}

func (c cluster) Nodes() []spec.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tables.Nodes()
}

func (c cluster) ClusterID() string { return c.ready.ClusterID }
