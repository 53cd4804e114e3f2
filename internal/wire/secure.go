package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"

	"ray/internal/spec"
)

// What follows the token exchange on a connection.
const (
	KindClient  byte = 'C' // a Session that carries a Stream of client frames
	KindSession byte = 'S' // a Session
	KindBulk    byte = 'B' // object bytes
	KindWitness byte = 'W' // a question about the head
	KindGRPC    byte = 'G' // HTTP/2, of a client that has proved itself
	kindH2      byte = 0   // never said: TLS or the first bytes tell it
)

const (
	alpn         = "ray/1"
	alpnH2       = "h2"
	magic        = "RAY1"
	nonceSize    = 32
	proofSize    = sha256.Size
	helloTimeout = 10 * time.Second // a side that is silent for longer during the exchange is dropped
)

// newCertificate makes a self-signed leaf. Our own processes check neither its
// names nor its dates: the token exchange proves whose it is. Others, which are
// given it as the certificate to trust, find the addresses of this machine in it.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a TLS key: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "ray"},
		DNSNames:     []string{"ray", "localhost"},
		IPAddresses:  ownAddresses(),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a TLS certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// ownAddresses are the addresses of this machine's interfaces.
func ownAddresses() []net.IP {
	list, _ := net.InterfaceAddrs() // what cannot be found out is not named
	var out []net.IP
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			out = append(out, n.IP)
		}
	}
	return out
}

// Dialer connects to a listener of this protocol.
type Dialer struct {
	Auth Auth
	// Connect opens the byte stream; nil means TCP.
	Connect func(ctx context.Context, address string) (net.Conn, error)
}

// Dial connects, proves both sides to each other and says what follows. A
// token that does not match is an *AuthError.
func (d Dialer) Dial(ctx context.Context, address string, kind byte) (net.Conn, error) {
	connect := d.Connect
	if connect == nil {
		connect = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: helloTimeout}).DialContext(ctx, "tcp", address)
		}
	}
	raw, err := connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	conn, err := d.secure(ctx, raw, address, kind)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// secure runs TLS and the exchange over an open stream.
func (d Dialer) secure(ctx context.Context, raw net.Conn, address string, kind byte) (net.Conn, error) {
	_ = raw.SetDeadline(time.Now().Add(helloTimeout)) // an error shows in the reads below
	conn, hash := raw, make([]byte, sha256.Size)
	if !d.Auth.Disabled {
		tc := tls.Client(raw, &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, ServerName: "ray",
			InsecureSkipVerify: true, // the token exchange binds the certificate instead of a chain
		})
		if err := tc.HandshakeContext(ctx); err != nil {
			var plain tls.RecordHeaderError
			if errors.As(err, &plain) {
				return nil, fmt.Errorf("%s does not speak TLS: is it another service, or a cluster with RAY_AUTH_MODE=disabled? %w", address, err)
			}
			return nil, fmt.Errorf("TLS with %s: %w", address, err)
		}
		sum := sha256.Sum256(tc.ConnectionState().PeerCertificates[0].Raw)
		conn, hash = tc, sum[:]
	}
	if err := d.exchange(conn, address, kind, hash); err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}

func (d Dialer) exchange(conn net.Conn, address string, kind byte, hash []byte) error {
	hello := make([]byte, len(magic)+nonceSize)
	copy(hello, magic)
	nonce := hello[len(magic):]
	_, _ = rand.Read(nonce)
	if _, err := conn.Write(hello); err != nil {
		return fmt.Errorf("token exchange with %s: %w", address, err)
	}
	answer := make([]byte, nonceSize+proofSize)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("token exchange with %s: it hung up: %w", address, err)
	}
	if !hmac.Equal(answer[nonceSize:], d.Auth.proof("listener", nonce, hash)) {
		return &AuthError{address, "the process there does not hold the token that is used here"}
	}
	if _, err := conn.Write(append(d.Auth.proof("dialler", answer[:nonceSize], hash), kind)); err != nil {
		return fmt.Errorf("token exchange with %s: %w", address, err)
	}
	var verdict [1]byte
	if _, err := io.ReadFull(conn, verdict[:]); err != nil {
		return fmt.Errorf("token exchange with %s: it hung up: %w", address, err)
	}
	if verdict[0] == 0 {
		return nil
	}
	return refusal(conn, address)
}

// refusal reads the FATAL frame of a listener that said no.
func refusal(conn net.Conn, address string) error {
	f, err := NewReader(conn, HelloLimit).Next()
	if err != nil || f.Type != TFatal {
		return fmt.Errorf("%s refused the connection and did not say why", address)
	}
	var info spec.ErrorInfo
	if err := json.Unmarshal(f.Body, &info); err != nil {
		return fmt.Errorf("%s refused the connection and did not say why", address)
	}
	if info.Type == authErrorType {
		return &AuthError{address, info.Message}
	}
	return fmt.Errorf("%s refused the connection: %w", address, &info)
}

const authErrorType = "AuthenticationError"

// admit is the listener's half of the exchange; it returns the kind byte.
func (a Auth) admit(conn net.Conn, hash []byte) (byte, error) {
	hello := make([]byte, len(magic)+nonceSize)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return 0, err
	}
	if string(hello[:len(magic)]) != magic {
		return 0, fmt.Errorf("%w: the connection does not begin with %s", ErrMalformed, magic)
	}
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:])
	answer := append(nonce[:], a.proof("listener", hello[len(magic):], hash)...)
	if _, err := conn.Write(answer); err != nil {
		return 0, err
	}
	reply := make([]byte, proofSize+1)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return 0, fmt.Errorf("it hung up after seeing our proof, as one with another token does: %w", err)
	}
	if !hmac.Equal(reply[:proofSize], a.proof("dialler", nonce[:], hash)) {
		info := &spec.ErrorInfo{Type: authErrorType, Message: "the cluster does not accept the token that is used here"}
		refuse(conn, info)
		return 0, &AuthError{conn.RemoteAddr().String(), "it showed a wrong token"}
	}
	return reply[proofSize], nil
}

// refuse answers a connection with no and a reason.
func refuse(conn net.Conn, info *spec.ErrorInfo) {
	_, _ = conn.Write(AppendJSON([]byte{1}, TFatal, info)) // it is about to be closed anyway
}
