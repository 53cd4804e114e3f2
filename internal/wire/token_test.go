package wire

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadToken(t *testing.T) {
	home := t.TempDir()
	env := map[string]string{}
	load := func() (Auth, error) { return LoadTokenFrom(func(k string) string { return env[k] }, home) }
	if _, err := load(); !errors.Is(err, ErrNoToken) {
		t.Errorf("no token: %v", err)
	}
	made, err := CreateToken(DefaultTokenPath(home))
	if err != nil || len(made.Token) != 64 {
		t.Fatalf("%d %v", len(made.Token), err)
	}
	if again, err := CreateToken(DefaultTokenPath(home)); err != nil || again != made {
		t.Errorf("the token changed: %v", err)
	}
	if info, err := os.Stat(DefaultTokenPath(home)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	if a, err := load(); err != nil || a != made {
		t.Errorf("from the file: %v", err)
	}
	env["RAY_AUTH_TOKEN_PATH"] = filepath.Join(home, "missing")
	if _, err := load(); err == nil {
		t.Error("a missing file that was asked for is no error")
	}
	env["RAY_AUTH_TOKEN"] = strings.Repeat("0", 64)
	if a, err := load(); err != nil || a.Token != env["RAY_AUTH_TOKEN"] || a.Path != "" {
		t.Errorf("from the variable: %v", err)
	}
	env["RAY_AUTH_TOKEN"] = "secretish"
	if _, err := load(); err == nil || strings.Contains(err.Error(), "secretish") {
		t.Errorf("a short token: %v", err)
	}
	env["RAY_AUTH_MODE"] = "disabled"
	if a, err := load(); err != nil || !a.Disabled || a.Token != "" {
		t.Errorf("disabled: %+v %v", a, err)
	}
	env["RAY_AUTH_MODE"] = "maybe"
	if _, err := load(); err == nil {
		t.Error("an unknown mode is accepted")
	}
}
