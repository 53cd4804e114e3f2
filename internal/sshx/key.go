package sshx

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// PublicKey gives the public half of the private key in the file, as
// authorized_keys has it: kind and key, without a comment.
func PublicKey(file string) (string, error) {
	signer, err := readKey(file)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), nil
}

// EnsureKey is PublicKey of a file that is made (0600), with a new ed25519
// key, if it is not there. Of two who make it at the same time one wins.
func EnsureKey(file string) (string, error) {
	_, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = newKey(file)
	}
	if err != nil {
		return "", fmt.Errorf("make the SSH key %s: %w", file, err)
	}
	return PublicKey(file)
}

func newKey(file string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(file), ".key-*") // 0600
	if err != nil {
		return err
	}
	_, err = draft.Write(pem.EncodeToMemory(block))
	if err = errors.Join(err, draft.Close()); err == nil {
		err = os.Link(draft.Name(), file)
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(draft.Name()))
}
