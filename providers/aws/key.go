package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"ray/internal/sshx"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
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
	path := filepath.Join(s.o.Dir, "key.pem")
	public, err := sshx.EnsureKey(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(public))
	name := "ray-" + s.o.Config.Name + "-" + hex.EncodeToString(sum[:4])
	if err := s.importKey(ctx, name, public); err != nil {
		return err
	}
	section(s.doc, "auth")["ssh_private_key"] = path
	for _, t := range s.o.Config.TypeNames() {
		if s.specs[t].input.KeyName == nil {
			s.config(t)["KeyName"] = name
		}
	}
	return nil
}

func (s *setup) importKey(ctx context.Context, name, public string) error {
	_, err := s.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{name}})
	if err == nil {
		return nil // the name is a digest of the key
	}
	if !is(err, "InvalidKeyPair.NotFound") {
		return failed("look for the key pair "+name, err)
	}
	_, err = s.ec2.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{
		KeyName: aws.String(name), PublicKeyMaterial: []byte(public), TagSpecifications: s.ownTags(types.ResourceTypeKeyPair),
	})
	if is(err, "InvalidKeyPair.Duplicate") {
		err = nil
	}
	return failed("import the key pair "+name, err)
}
