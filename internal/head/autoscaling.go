package head

import "ray/internal/wire"

func (h *Head) startAutoscaler(wire.Auth) error { return nil }

func (h *Head) stopAutoscaler() {}
