package head

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
)

// relayDial bounds the wait for the daemon of this machine.
const relayDial = 5 * time.Second

// relay hands the connection of a ray:// driver that dialled the head's port
// on to the daemon of the head's machine, byte for byte: users know that one
// port, and it may be the only one that they reach. The session inside
// belongs to the two ends, so it survives the death of this process.
func (h *Head) relay(from net.Conn, a wire.Auth) {
	address := h.ownDaemon()
	if address == "" {
		h.log.Warn("a driver's connection was dropped: the daemon of this machine has not joined", "from", from.RemoteAddr())
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, relayDial)
	to, err := wire.Dialer{Auth: a}.Dial(ctx, address, wire.KindClient)
	cancel()
	if err != nil {
		h.log.Warn("a driver's connection was dropped: the daemon of this machine does not take it", "from", from.RemoteAddr(), "err", err)
		return
	}
	stop := context.AfterFunc(h.ctx, func() { _ = from.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { splice(to, from) })
	splice(from, to)
	both.Wait()
}

// splice copies until one of the two ends, and ends the other.
func splice(to, from net.Conn) {
	_, _ = io.Copy(to, from) // why it ended is for the session's ends to find out
	_ = from.Close()
	_ = to.Close()
}

// ownDaemon is the address of the head machine's daemon, or "".
func (h *Head) ownDaemon() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.tables.Nodes() {
		if n.Head && n.State != spec.NodeDead {
			return n.Address
		}
	}
	return ""
}
