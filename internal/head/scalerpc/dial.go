package scalerpc

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"ray/internal/autoscalerpb"
	"ray/internal/wire"
)

// Client calls the services of a head.
type Client struct {
	autoscalerpb.AutoscalerStateServiceClient
	KV   autoscalerpb.InternalKVGcsServiceClient
	conn *grpc.ClientConn
}

// Dial makes a client of the head at address. Its connections are made as all
// of ours are: both sides prove to each other that they hold the token, bound
// to the channel, before HTTP/2 begins. Nothing is sent before the first call.
func Dial(address string, auth wire.Auth) (*Client, error) {
	dialer := wire.Dialer{Auth: auth}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the dialer's channel is secure
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.Dial(ctx, address, wire.KindGRPC)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
			if !auth.Disabled {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+auth.Token)
			}
			return call(ctx, method, in, out, cc, o...)
		}),
	)
	if err != nil {
		return nil, err
	}
	return &Client{
		AutoscalerStateServiceClient: autoscalerpb.NewAutoscalerStateServiceClient(conn),
		KV:                           autoscalerpb.NewInternalKVGcsServiceClient(conn), conn: conn,
	}, nil
}

// Close ends the connections.
func (c *Client) Close() error { return c.conn.Close() }
