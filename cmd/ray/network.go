package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"

	"ray/internal/session"
)

// joinAddress completes the --address of a node that joins.
func joinAddress(text string) (string, error) {
	text = strings.TrimPrefix(text, "ray://")
	if text == "auto" {
		if a, ok := localHead(); ok {
			return a.Address, nil
		}
		return "", errors.New("--address=auto found no head on this machine: start one with `ray start --head`, or give its host:port")
	}
	if !strings.Contains(text, ":") {
		text += ":6379"
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return "", usagef("Invalid value for '--address': %q is not HOST:PORT.", text)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", usagef("Invalid value for '--address': %q is not a port number.", port)
	}
	if loopbackHost(host) { // a head here may listen at the machine's address alone
		all, _ := session.List()
		for _, a := range all {
			if _, there, err := net.SplitHostPort(a.Address); err == nil && a.Head && there == port {
				return a.Address, nil
			}
		}
	}
	return text, nil
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// nodeIP is the address that others reach this machine by: the one given,
// else that of the interface towards the peer, or towards the world.
func nodeIP(given, peer string, loopback bool) string {
	if given != "" {
		if given == "localhost" {
			return "127.0.0.1"
		}
		return given
	}
	if ip := net.ParseIP(peer); loopback || peer == "localhost" || (ip != nil && ip.IsLoopback()) {
		return "127.0.0.1"
	}
	if peer == "" {
		peer = "8.8.8.8"
	}
	// Connecting a datagram socket sends nothing: it only looks up the route.
	conn, err := net.Dial("udp", net.JoinHostPort(peer, "80"))
	if err != nil {
		return "127.0.0.1"
	}
	defer func() { _ = conn.Close() }()
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		return a.IP.String()
	}
	return "127.0.0.1"
}

// Ports below those that systems give to outgoing connections: between the
// choice of a port and the head's listening nobody gets one of these by chance.
const (
	freeFrom  = 20_000
	freeTo    = 32_000
	freeTries = 100
)

func freePort(host string) (int, error) {
	for range freeTries {
		port := freeFrom + rand.IntN(freeTo-freeFrom)
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port on %s: %w", host, err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// checkPort says who holds a port that is taken, and the option that chooses another.
func checkPort(host string, port int, flag string) error {
	address := net.JoinHostPort(host, strconv.Itoa(port))
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l.Close()
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	return fmt.Errorf("port %d is in use%s. Choose another one with %s (0 takes any free one), or end what holds it", port, holder(address, port), flag)
}

// holder describes what listens on a port, as far as it can be found out.
func holder(address string, port int) string {
	all, _ := session.List()
	for _, a := range all {
		if a.Address == address && a.Head {
			return fmt.Sprintf(" by a Ray head that runs at %s (session %s, pid %d; `ray stop --address %s` ends it)", a.Address, a.SessionName, a.PID, a.Address)
		}
	}
	if pid, name := portHolder(port); pid != 0 {
		return fmt.Sprintf(" by %s (pid %d)", name, pid)
	}
	return ""
}
