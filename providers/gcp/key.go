package gcp

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/protobuf/proto"

	"ray/internal/cluster"
	"ray/internal/sshx"
)

// keysItem is the metadata item from which an instance learns who may log in.
const keysItem = "ssh-keys"

// upstreamKeys is how many names of keys upstream tries.
const upstreamKeys = 10

// keyFile is the private key of the cluster: the file's, else one that
// upstream's launcher left here for this project, else the cluster's own.
func (p *Provider) keyFile() string {
	auth := p.o.Config.Auth
	if auth.PrivateKey != "" {
		return cluster.ExpandHome(auth.PrivateKey)
	}
	for n := range upstreamKeys {
		name := fmt.Sprintf("~/.ssh/ray-autoscaler_gcp_%s_%s_%s_%d.pem", p.region(), p.project(), auth.User, n)
		if path := cluster.ExpandHome(name); isFile(path) {
			return path
		}
	}
	return filepath.Join(p.o.Dir, "key.pem")
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// publicKey gives the public half of the cluster's key.
func (p *Provider) publicKey() (string, error) { return sshx.PublicKey(p.keyFile()) }

// withKey lets the user log in with the key. Keys of instances, unlike those
// of the project, need no right on the project and no agreement with others.
func withKey(m *computepb.Metadata, user, key string) *computepb.Metadata {
	line := user + ":" + key + " " + user
	if m == nil {
		m = &computepb.Metadata{}
	}
	for _, item := range m.GetItems() {
		if item.GetKey() == keysItem {
			if !strings.Contains(item.GetValue(), key) {
				item.Value = proto.String(strings.TrimRight(item.GetValue(), "\n") + "\n" + line)
			}
			return m
		}
	}
	m.Items = append(m.Items, &computepb.Items{Key: proto.String(keysItem), Value: proto.String(line)})
	return m
}

// admit lets this launcher's key into a machine that another launcher made.
func (p *Provider) admit(ctx context.Context, m machine) error {
	key, err := p.publicKey()
	if err != nil {
		return err
	}
	meta := m.metadata
	if meta == nil {
		meta = &computepb.Metadata{}
	}
	before := proto.Size(meta)
	if meta = withKey(meta, p.o.Config.Auth.User, key); proto.Size(meta) == before {
		return nil
	}
	c, err := p.connectAPI(ctx)
	if err != nil {
		return err
	}
	_, err = c.instances.SetMetadata(ctx, &computepb.SetMetadataInstanceRequest{
		Project: p.project(), Zone: m.zone, Instance: m.ID, MetadataResource: meta,
	})
	if isStale(err) { // somebody else is at it; the next try sees what they wrote
		err = nil
	}
	return failed("let the key of this machine into "+m.ID, err)
}
