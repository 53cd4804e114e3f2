package session

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoToken says that no token is set up for this user.
var ErrNoToken = errors.New("no cluster token found: set RAY_AUTH_TOKEN, or copy the head's token file to ~/.ray/auth_token (mode 0600) or name it by RAY_AUTH_TOKEN_PATH; `ray get-auth-token` on the head's machine shows it")

// AuthDisabled tells whether RAY_AUTH_MODE turns authentication off.
func AuthDisabled() bool { return strings.EqualFold(os.Getenv("RAY_AUTH_MODE"), "disabled") }

// Token finds the token: RAY_AUTH_TOKEN (path is then ""), else the file
// RAY_AUTH_TOKEN_PATH, else ~/.ray/auth_token. ErrNoToken if there is none.
func Token() (token, path string, err error) {
	if t := strings.TrimSpace(os.Getenv("RAY_AUTH_TOKEN")); t != "" {
		return t, "", nil
	}
	path, err = tokenPath()
	if err != nil {
		return "", "", err
	}
	token, err = ReadToken(path)
	return token, path, err
}

// ReadToken reads a token file; ErrNoToken if it is not there.
func ReadToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", ErrNoToken
	case err != nil:
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("the token file %s is empty: remove it, or put the cluster's token in", path)
	}
	return token, nil
}

// EnsureToken is Token, and makes a random one (64 hex digits, a file with
// mode 0600) if there is none. made tells that it did.
func EnsureToken() (token, path string, made bool, err error) {
	token, path, err = Token()
	if !errors.Is(err, ErrNoToken) {
		return token, path, false, err
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	token = hex.EncodeToString(b[:])
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", "", false, fmt.Errorf("make the token's directory: %w", err)
	}
	if err := createToken(path, token); err != nil {
		if errors.Is(err, os.ErrExist) { // another process was faster: its token counts
			token, err = ReadToken(path)
			return token, path, false, err
		}
		return "", "", false, fmt.Errorf("write the token: %w", err)
	}
	return token, path, true, nil
}

// createToken writes the file in one step and fails if it is already there.
func createToken(path, token string) error {
	temp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(temp, []byte(token), 0o600); err != nil {
		return err
	}
	err := os.Link(temp, path)
	return errors.Join(err, os.Remove(temp))
}

func tokenPath() (string, error) {
	if p := os.Getenv("RAY_AUTH_TOKEN_PATH"); p != "" {
		return p, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the token: %w; set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH", err)
	}
	return filepath.Join(home, ".ray", "auth_token"), nil
}
