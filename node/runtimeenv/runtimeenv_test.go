package runtimeenv

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ray/internal/spec"
)

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestVariablesAreExpandedAndSorted(t *testing.T) {
	m := New(t.TempDir(), nil)
	m.base = []string{"HOME=/h", "LD_LIBRARY_PATH=/l"}
	env, err := m.Ensure(t.Context(), json.RawMessage(
		`{"env_vars": {"A": "${HOME}/x:${NONE}:$HOME", "LD_LIBRARY_PATH": "${LD_LIBRARY_PATH}:/mine", "OPEN": "${HOME"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if env.Vars["A"] != "/h/x::$HOME" || env.Vars["OPEN"] != "${HOME" {
		t.Errorf("vars %v", env.Vars)
	}
	if env.ServerVars["LD_LIBRARY_PATH"] != "/l:/mine" || len(env.Vars) != 2 {
		t.Errorf("server vars %v", env.ServerVars)
	}
}

func TestKeyDependsOnTheContentAlone(t *testing.T) {
	same := []string{`{"env_vars":{"a":"1","b":"2"}}`, `{ "env_vars": {"b":"2","a":"1"}, "config": {"eager_install": true}, "pip": null}`}
	if Key(json.RawMessage(same[0])) != Key(json.RawMessage(same[1])) {
		t.Error("equal environments have different keys")
	}
	if Key(json.RawMessage(`{"env_vars":{"a":"2"}}`)) == Key(json.RawMessage(same[0])) {
		t.Error("different environments share a key")
	}
	for _, empty := range []string{"", "null", "{}", `{"config":{}}`} {
		if Key(json.RawMessage(empty)) != "" {
			t.Errorf("%q has a key", empty)
		}
	}
}

func TestWorkingDirIsFetchedOnceForAll(t *testing.T) {
	data := archive(t, map[string]string{"a.py": "x = 1", "sub/b.txt": "b"})
	var mu sync.Mutex
	fetched := 0
	m := New(t.TempDir(), func(context.Context, string) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		fetched++
		return data, nil
	})
	env := json.RawMessage(`{"working_dir": "gcs://_ray_pkg_1.zip"}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := m.Ensure(t.Context(), env)
			if err != nil {
				t.Error(err)
				return
			}
			text, err := os.ReadFile(filepath.Join(got.Cwd, "sub", "b.txt"))
			if err != nil || string(text) != "b" || got.SysPath[0] != got.Cwd {
				t.Errorf("%+v: %q %v", got, text, err)
			}
		})
	}
	wg.Wait()
	if fetched != 1 {
		t.Errorf("fetched %d times", fetched)
	}
}

func TestBadPackagesLeaveNothing(t *testing.T) {
	for name, data := range map[string][]byte{
		"no zip":   []byte("hello"),
		"escaping": archive(t, map[string]string{"ok.txt": "", "../evil": "x"}),
		"absolute": archive(t, map[string]string{"/etc/evil": "x"}),
	} {
		dir := t.TempDir()
		m := New(dir, func(context.Context, string) ([]byte, error) { return data, nil })
		_, err := m.Ensure(t.Context(), json.RawMessage(`{"working_dir": "gcs://p.zip"}`))
		var info *spec.ErrorInfo
		if !errors.As(err, &info) || info.Type != "RuntimeEnvSetupError" {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: %d entries left", name, len(left))
		}
	}
}

func TestFailureIsTriedAgain(t *testing.T) {
	calls := 0
	m := New(t.TempDir(), func(context.Context, string) ([]byte, error) {
		if calls++; calls == 1 {
			return nil, errors.New("head is away")
		}
		return archive(t, map[string]string{"a": ""}), nil
	})
	env := json.RawMessage(`{"py_modules": ["gcs://m.zip"]}`)
	if _, err := m.Ensure(t.Context(), env); err == nil || !strings.Contains(err.Error(), "head is away") {
		t.Fatal(err)
	}
	if _, err := m.Ensure(t.Context(), env); err != nil {
		t.Fatal(err)
	}
}

func TestUnsupportedFieldsSaySo(t *testing.T) {
	err := Check(json.RawMessage(`{"pip": ["x"]}`))
	if err == nil || !strings.Contains(err.Error(), `not supported yet: runtime_env field "pip"`) {
		t.Error(err)
	}
	if err := Check(json.RawMessage(`{"pip": null, "env_vars": {"A": "1"}}`)); err != nil {
		t.Error(err)
	}
}
