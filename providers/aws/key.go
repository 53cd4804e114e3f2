package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
)

// keyPair gives the machines the public half of a key of this cluster, unless
// the file names its own.
func (s *setup) keyPair(ctx context.Context) error {
	if s.o.Config.Auth.PrivateKey != "" {
		for _, name := range s.o.Config.TypeNames() {
			in := s.specs[name].input
			if in.KeyName == nil && in.UserData == nil && in.LaunchTemplate == nil {
				return s.bad(name, "", "auth.ssh_private_key is the file's own: name its key pair here as KeyName, or remove ssh_private_key")
			}
		}
		return nil
	}
	if name, path, err := s.upstreamKey(ctx); err != nil {
		return err
	} else if name != "" {
		s.useKey(name, path)
		return nil
	}
	path := filepath.Join(s.o.Dir, "key.pem")
	if _, err := os.Stat(path); err != nil && s.look {
		return providers.ErrUnmade
	}
	public, err := sshx.EnsureKey(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(public))
	name := "ray-" + s.o.Config.Name + "-" + hex.EncodeToString(sum[:4])
	if err := s.importKey(ctx, name, public); err != nil {
		return err
	}
	s.useKey(name, path)
	return nil
}

func (s *setup) useKey(name, path string) {
	section(s.doc, "auth")["ssh_private_key"] = path
	for _, t := range s.o.Config.TypeNames() {
		if s.specs[t].input.KeyName == nil {
			s.config(t)["KeyName"] = name
		}
	}
}

// upstreamKeys is how many names of keys upstream tries.
const upstreamKeys = 10

// upstreamKey gives the key pair with which upstream's launcher on this
// machine made the cluster's head, "" if it made none: nothing else opens that
// machine, and the launch hash covers it.
func (s *setup) upstreamKey(ctx context.Context) (name, path string, err error) {
	have := map[string]string{}
	for n := range upstreamKeys {
		name := "ray-autoscaler_" + s.region()
		if n > 0 {
			name = fmt.Sprintf("ray-autoscaler_%d_%s", n, s.region())
		}
		path := cluster.ExpandHome("~/.ssh/" + name + ".pem")
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			have[name] = path
		}
	}
	if len(have) == 0 {
		return "", "", nil
	}
	out, err := s.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		filter("tag:"+providers.TagCluster, s.o.Config.Name), filter("tag:"+providers.TagKind, providers.Head),
		filter("instance-state-name", "pending", "running"),
	}})
	if err != nil {
		return "", "", failed("look for a head of upstream's", err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			name := aws.ToString(i.KeyName)
			if path, ok := have[name]; ok && instance(i).Tags[providers.TagFileHash] == "" {
				return name, path, nil
			}
		}
	}
	return "", "", nil
}

func (s *setup) importKey(ctx context.Context, name, public string) error {
	_, err := s.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{name}})
	if err == nil {
		return nil // the name is a digest of the key
	}
	if !is(err, "InvalidKeyPair.NotFound") {
		return failed("look for the key pair "+name, err)
	}
	if s.look {
		return providers.ErrUnmade
	}
	_, err = s.ec2.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{
		KeyName: aws.String(name), PublicKeyMaterial: []byte(public), TagSpecifications: s.ownTags(types.ResourceTypeKeyPair),
	})
	if is(err, "InvalidKeyPair.Duplicate") {
		err = nil
	}
	return failed("import the key pair "+name, err)
}
