package sshx

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// maxJumps bounds how many jump hosts may lead to another, so that a circle
// in the configuration ends.
const maxJumps = 8

func (s *SSH) dial(ctx context.Context, to route) (net.Conn, error) {
	switch {
	case len(to.jumps) > 0:
		return s.jump(ctx, to)
	case to.proxy == "":
		return (&net.Dialer{}).DialContext(ctx, "tcp", to.address())
	}
	line := strings.NewReplacer("%h", to.host, "%n", to.name, "%p", to.port, "%r", to.user, "%%", "%").Replace(to.proxy)
	conn, err := dialCommand(line)
	if err == nil {
		s.hop = conn
	}
	return conn, err
}

// jump goes through the jump hosts, each reached through the one before it.
func (s *SSH) jump(ctx context.Context, to route) (net.Conn, error) {
	if s.depth+len(to.jumps) > maxJumps {
		return nil, fmt.Errorf("more than %d jump hosts: does ProxyJump lead in a circle?", maxJumps)
	}
	last := to.jumps[len(to.jumps)-1]
	user, address := splitUser(last)
	hop := &SSH{cfg: Config{
		Address: address, User: user, KnownHosts: s.cfg.KnownHosts, Timeout: s.cfg.Timeout, spare: s.cfg.KeyFile, through: to.jumps[:len(to.jumps)-1],
	}, depth: s.depth + 1}
	if hop.cfg.spare == "" {
		hop.cfg.spare = s.cfg.spare
	}
	client, err := hop.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := client.DialContext(ctx, "tcp", to.address())
	if err != nil {
		_ = hop.Close()
		return nil, fmt.Errorf("from the jump host %s: %w", hop, err)
	}
	s.hop = hop
	return conn, nil
}
