package scalerpc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"ray/internal/autoscalerpb"
	"ray/internal/wire"
)

const (
	// connectionTimeout is how long a client may take to begin to speak HTTP/2.
	connectionTimeout = 10 * time.Second
	// minPing is how often a client may ask whether the head is still there.
	minPing = 5 * time.Second
	// maxMessage bounds what one call brings: a value for the key-value store.
	maxMessage = 128 << 20
	// rayVersion is the release of upstream that clients compare theirs with.
	rayVersion = "2.60.0"
)

// Server answers calls on the connections that it is given.
type Server struct {
	grpc *grpc.Server
	port *port
	done sync.WaitGroup
}

// New makes a server for c. Every call must bring auth's token, unless that is
// disabled.
func New(c Cluster, auth wire.Auth) *Server {
	options := []grpc.ServerOption{
		grpc.ConnectionTimeout(connectionTimeout), grpc.WaitForHandlers(true), grpc.MaxRecvMsgSize(maxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	}
	if !auth.Disabled {
		// Before the message is read: a stranger's is not worth the memory.
		options = append(options, grpc.InTapHandle(func(ctx context.Context, info *tap.Info) (context.Context, error) {
			return ctx, admit(auth.Token, info.Header.Get("authorization"))
		}))
	}
	s := &Server{grpc: grpc.NewServer(options...), port: &port{conns: make(chan net.Conn), closed: make(chan struct{})}}
	autoscalerpb.RegisterAutoscalerStateServiceServer(s.grpc, &service{cluster: c})
	autoscalerpb.RegisterNodeInfoGcsServiceServer(s.grpc, &nodeService{cluster: c, version: rayVersion})
	autoscalerpb.RegisterInternalKVGcsServiceServer(s.grpc, &kvService{kv: c, version: rayVersion})
	s.done.Go(func() { _ = s.grpc.Serve(s.port) }) // it ends with Close, and only then
	return s
}

// admit checks a call's authorization metadata, "Bearer TOKEN".
func admit(token string, values []string) error {
	if len(values) == 0 {
		return status.Error(codes.Unauthenticated, "the call brings no cluster token: send it as the metadata authorization: Bearer TOKEN")
	}
	given, ok := strings.CutPrefix(values[0], "Bearer ")
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token))
	if !ok || token == "" || len(values) > 1 || subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		return status.Error(codes.Unauthenticated, "the call's token is not this cluster's: use the one in the head machine's ~/.ray/auth_token")
	}
	return nil
}

// Serve answers calls on conn until it is closed, by either side or by Close.
func (s *Server) Serve(conn net.Conn) {
	w := &watched{Conn: conn, closed: make(chan struct{})}
	select {
	case s.port.conns <- w:
		<-w.closed
	case <-s.port.closed:
	}
}

// Close ends the connections, cancels what is being answered and waits for it.
func (s *Server) Close() {
	s.grpc.Stop()
	_ = s.port.Close()
	s.done.Wait()
}

// port is the listener that gRPC takes its connections from.
type port struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *port) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *port) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is for messages only.
func (p *port) Addr() net.Addr { return &net.UnixAddr{Name: "head", Net: "unix"} }

// watched tells when gRPC is through with a connection.
type watched struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (w *watched) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}
