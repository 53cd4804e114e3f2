package head

import "ray/internal/wire"

type dashServer struct{}

func (d *dashServer) close() {}

func (h *Head) startDashboard(wire.Auth) (*dashServer, error) { return &dashServer{}, nil }
