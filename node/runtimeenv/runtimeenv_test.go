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

func manager(t *testing.T, c Config) *Manager {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	m := New(c)
	t.Cleanup(m.Close)
	return m
}

func TestVariablesAreExpandedAndSorted(t *testing.T) {
	m := manager(t, Config{Environ: []string{"HOME=/h", "LD_LIBRARY_PATH=/l"}})
	env, err := m.Ensure(t.Context(), Request{Env: json.RawMessage(
		`{"env_vars": {"A": "${HOME}/x:${NONE}:$HOME", "LD_LIBRARY_PATH": "${LD_LIBRARY_PATH}:/mine", "OPEN": "${HOME"}}`)})
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
	m := manager(t, Config{Fetch: func(context.Context, string) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		fetched++
		return data, nil
	}})
	env := json.RawMessage(`{"working_dir": "gcs://_ray_pkg_1.zip"}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := m.Ensure(t.Context(), Request{Env: env, Holder: "h"})
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
		"lone":     archive(t, map[string]string{"../evil": "x"}),
	} {
		dir := t.TempDir()
		m := manager(t, Config{Dir: dir, Fetch: func(context.Context, string) ([]byte, error) { return data, nil }})
		_, err := m.Ensure(t.Context(), Request{Env: json.RawMessage(`{"working_dir": "gcs://p.zip"}`)})
		var info *spec.ErrorInfo
		if !errors.As(err, &info) || info.Type != "RuntimeEnvSetupError" {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(filepath.Join(dir, "0")); len(left) != 1 { // the lock
			t.Errorf("%s: entries left: %v", name, left)
		}
	}
}

func TestFailureIsTriedAgain(t *testing.T) {
	calls := 0
	m := manager(t, Config{Fetch: func(context.Context, string) ([]byte, error) {
		if calls++; calls == 1 {
			return nil, errors.New("head is away")
		}
		return archive(t, map[string]string{"a": ""}), nil
	}})
	env := json.RawMessage(`{"py_modules": ["gcs://m.zip"]}`)
	if _, err := m.Ensure(t.Context(), Request{Env: env, Holder: "h"}); err == nil || !strings.Contains(err.Error(), "head is away") {
		t.Fatal(err)
	}
	if _, err := m.Ensure(t.Context(), Request{Env: env, Holder: "h"}); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	for env, want := range map[string]string{
		`[]`:                                     "not an object",
		`{"_nsight": "x"}`:                       `not supported yet: runtime_env field "nsight"`,
		`{"envvars": {}}`:                        `unknown field "envvars"`,
		`{"pip": ["a"], "conda": "b"}`:           "exclude each other",
		`{"pip": {"pip_check": true}}`:           "packages",
		`{"pip": "/no/such/req.txt"}`:            "requirements file /no/such/req.txt is not on this node",
		`{"pip": 5}`:                             "cannot unmarshal",
		`{"working_dir": "azure://b/x.zip"}`:     "not supported yet: packages from azure://",
		`{"working_dir": "s3://b"}`:              "must be s3://BUCKET/NAME.zip",
		`{"working_dir": "gs://b/x"}`:            "names no archive",
		`{"working_dir": "ftp://b/x.zip"}`:       "unknown scheme",
		`{"working_dir": "/tmp"}`:                "no package URI",
		`{"working_dir": "https://b/x"}`:         "names no archive",
		`{"py_modules": ["https://b/x.tar.xz"]}`: "not supported yet: .tar.xz",
		`{"py_executable": "p", "uv": ["a"]}`:    "exclude each other",
	} {
		if err := Check(json.RawMessage(env)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
	for _, env := range []string{`{"image_uri": "i", "env_vars": {"A": "1"}}`, `{"pip": ["x"], "excludes": []}`, `{"conda": "base"}`, `null`} {
		if err := Check(json.RawMessage(env)); err != nil {
			t.Errorf("%s: %v", env, err)
		}
	}
}
