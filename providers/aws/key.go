package aws

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/internal/session"
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
	public, err := ensureKey(path)
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

// ensureKey gives the public half, in OpenSSH's form, of the key in the file,
// which is made if it is not there.
func ensureKey(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if data, err = newKey(); err == nil {
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), session.WriteFile(path, data))
		}
	}
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return "", fmt.Errorf("%s is no PEM file; remove it if no machine uses it", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("%s: %w; remove it if no machine uses it", path, err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return "", fmt.Errorf("%s holds a %T, not the ed25519 key that was put there; remove it if no machine uses it", path, key)
	}
	return openSSH(private.Public().(ed25519.PublicKey)), nil
}

func newKey() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// openSSH writes a public key as authorized_keys has it.
func openSSH(key ed25519.PublicKey) string {
	const kind = "ssh-ed25519"
	blob := binary.BigEndian.AppendUint32(nil, uint32(len(kind)))
	blob = append(blob, kind...)
	blob = binary.BigEndian.AppendUint32(blob, uint32(len(key)))
	blob = append(blob, key...)
	return kind + " " + base64.StdEncoding.EncodeToString(blob)
}
