package providers

import (
	"os"
	"path/filepath"

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
