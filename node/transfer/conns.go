package transfer

import (
	"context"
	"errors"
	"net"

	"ray/internal/spec"
)

// with runs use on a connection to node and keeps the connection if it is
// still in step. Cancelling ctx closes it.
func (f *Fetcher) with(ctx context.Context, node spec.NodeID, use func(net.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, err := f.take(ctx, node)
	if err != nil {
		return err
	}
	f.working(node, conn, true)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = use(conn)
	f.working(node, conn, false)
	cancelled := !stop()
	if cancelled || err != nil && !errors.Is(err, ErrUnknown) {
		_ = conn.Close()
		if cancelled {
			return errors.Join(ctx.Err(), err)
		}
		return err
	}
	f.give(node, conn)
	return err
}

func (f *Fetcher) take(ctx context.Context, node spec.NodeID) (net.Conn, error) {
	f.mu.Lock()
	if conns := f.idle[node]; len(conns) > 0 {
		conn := conns[len(conns)-1]
		f.idle[node] = conns[:len(conns)-1]
		f.mu.Unlock()
		return conn, nil
	}
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return nil, net.ErrClosed
	}
	return f.dial(ctx, node)
}

func (f *Fetcher) give(node spec.NodeID, conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.idle[node]) >= idleConns {
		_ = conn.Close()
		return
	}
	f.idle[node] = append(f.idle[node], conn)
}

// working notes the connections that are in use, so that Cut finds them.
func (f *Fetcher) working(node spec.NodeID, conn net.Conn, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !on {
		delete(f.busy[node], conn)
		if len(f.busy[node]) == 0 {
			delete(f.busy, node)
		}
		return
	}
	if f.busy[node] == nil {
		f.busy[node] = map[net.Conn]bool{}
	}
	f.busy[node][conn] = true
}

// Cut ends all fetches from a node that is dead: it may have gone without
// closing its connections.
func (f *Fetcher) Cut(node spec.NodeID) {
	f.Forget(node)
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.busy[node] {
		_ = conn.Close()
	}
}

// Forget closes the idle connections to a node that is gone.
func (f *Fetcher) Forget(node spec.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.idle[node] {
		_ = conn.Close()
	}
	delete(f.idle, node)
}

// Close closes the idle connections; running fetches end with their contexts.
func (f *Fetcher) Close() {
	f.mu.Lock()
	f.closed = true
	nodes := make([]spec.NodeID, 0, len(f.idle))
	for node := range f.idle {
		nodes = append(nodes, node)
	}
	f.mu.Unlock()
	for _, node := range nodes {
		f.Forget(node)
	}
}
