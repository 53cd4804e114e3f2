package wire

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Auth is what a process needs to prove that it belongs to the cluster.
type Auth struct {
	Token    string // 64 hex digits; empty with Disabled
	Path     string // the file that Token came from, if any
	Disabled bool   // RAY_AUTH_MODE=disabled: no token, no TLS, loopback only
}

// ErrNoToken says that none of the places for a token has one.
var ErrNoToken = errors.New("no cluster token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, or copy ~/.ray/auth_token from the head machine")

// LoadToken finds the token as this process's environment says.
func LoadToken() (Auth, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return LoadTokenFrom(os.Getenv, home)
}

// LoadTokenFrom is LoadToken with the environment and home directory given.
func LoadTokenFrom(getenv func(string) string, home string) (Auth, error) {
	switch mode := getenv("RAY_AUTH_MODE"); strings.ToLower(mode) {
	case "disabled":
		return Auth{Disabled: true}, nil
	case "", "token":
	default:
		return Auth{}, fmt.Errorf("RAY_AUTH_MODE is %q; it can be \"token\" or \"disabled\"", mode)
	}
	if t := strings.TrimSpace(getenv("RAY_AUTH_TOKEN")); t != "" {
		return checkToken(Auth{Token: t}, "RAY_AUTH_TOKEN")
	}
	path, given := getenv("RAY_AUTH_TOKEN_PATH"), true
	if path == "" {
		if home == "" {
			return Auth{}, ErrNoToken
		}
		path, given = DefaultTokenPath(home), false
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !given {
		return Auth{}, ErrNoToken
	}
	if err != nil {
		return Auth{}, fmt.Errorf("read the cluster token: %w", err)
	}
	return checkToken(Auth{Token: strings.TrimSpace(string(b)), Path: path}, path)
}

// checkToken refuses what cannot be a token, without showing it.
func checkToken(a Auth, where string) (Auth, error) {
	if len(a.Token) < 32 {
		return Auth{}, fmt.Errorf("the cluster token in %s is too short: 64 hex digits are expected", where)
	}
	return a, nil
}

// DefaultTokenPath is where the token lives if nothing else is said.
func DefaultTokenPath(home string) string { return filepath.Join(home, ".ray", "auth_token") }

// CreateToken makes a new token and writes it to path (mode 0600) unless the
// file exists; then it is read.
func CreateToken(path string) (Auth, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return Auth{}, fmt.Errorf("make the token's directory: %w", err)
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	token := hex.EncodeToString(raw[:])
	f, err := os.CreateTemp(filepath.Dir(path), ".auth_token")
	if err != nil {
		return Auth{}, fmt.Errorf("write the cluster token: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(token + "\n")
	err = errors.Join(err, f.Chmod(0o600), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // fails if another process was first
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Auth{}, fmt.Errorf("write the cluster token: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Auth{}, fmt.Errorf("read the cluster token: %w", err)
	}
	return checkToken(Auth{Token: strings.TrimSpace(string(b)), Path: path}, path)
}

// proof is what one side shows the other: that it holds the token, for this
// nonce and this certificate.
func (a Auth) proof(side string, nonce, certHash []byte) []byte {
	m := hmac.New(sha256.New, []byte(a.Token))
	m.Write([]byte(side))
	m.Write(nonce)
	m.Write(certHash)
	return m.Sum(nil)
}

// AuthError says that the two sides of a connection do not hold the same token.
type AuthError struct {
	Address string
	Reason  string
}

func (e *AuthError) Error() string {
	return fmt.Sprintf("%s: %s; give both sides the same token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token)", e.Address, e.Reason)
}
