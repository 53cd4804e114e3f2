package providers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ray/internal/cluster"
	"ray/internal/sshx"
)

// Address is where SSH finds the instance of a cloud, as the cluster file
// wants it reached; "" while the instance has no such address.
func Address(c *cluster.Config, i Instance) string {
	switch {
	case c.Auth.ProxyByID:
		return i.ID
	case i.Kind == Head && c.Provider.Bool("use_external_head_ip", false):
		return i.ExternalIP
	case c.Provider.Bool("use_internal_ips", false):
		return i.IP
	}
	return i.ExternalIP
}

// Connect gives the SSH connection to the instance of a cloud. Its host key is
// pinned below dir by the instance's id, since addresses are given out again.
func Connect(dir string, c *cluster.Config, i Instance, address string) (sshx.Host, error) {
	known := filepath.Join(dir, "hosts", i.ID)
	if err := os.MkdirAll(filepath.Dir(known), 0o700); err != nil {
		return nil, err
	}
	return sshx.NewSSH(sshx.Config{
		Address: address, User: c.Auth.User, KeyFile: cluster.ExpandHome(c.Auth.PrivateKey), ProxyCommand: c.Auth.ProxyCommand, KnownHosts: known,
		Env: map[string]string{"PATH": "~/.ray/bin", "RAY_CLOUD_INSTANCE_ID": i.ID},
	}), nil
}

// addressWait is how long an instance may take to get its address.
const addressWait = 2 * time.Minute

// Reacher connects to the instances of a cloud.
type Reacher struct {
	Dir    string // has the pinned host keys
	Config *cluster.Config
	// Dial connects to an instance; nil is SSH.
	Dial func(Instance) sshx.Host
	// Look gives the instance as the cloud shows it now, lets this machine in
	// where the cloud has to be told to, and fails if it is not there.
	Look func(ctx context.Context, id string) (Instance, error)
	// NoAddress is what to do about an instance that gets no public address.
	NoAddress string
}

// Host gives the connection to an instance as soon as it has an address.
func (r Reacher) Host(ctx context.Context, id string) (sshx.Host, error) {
	ctx, cancel := context.WithTimeout(ctx, addressWait)
	defer cancel()
	for {
		i, err := r.Look(ctx, id)
		if err != nil {
			return nil, err
		}
		if r.Dial != nil {
			return r.Dial(i), nil
		}
		if a := Address(r.Config, i); a != "" {
			return Connect(r.Dir, r.Config, i, a)
		}
		select {
		case <-ctx.Done():
			return nil, &Error{Cause: BadConfig, Op: "reach " + id, Err: fmt.Errorf("it has no public address: %w", ctx.Err()),
				Hint: "set use_internal_ips: true in provider, or " + r.NoAddress}
		case <-time.After(time.Second):
		}
	}
}
