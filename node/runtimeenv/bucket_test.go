package runtimeenv

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPackagesFromBuckets(t *testing.T) {
	data := archive(t, map[string]string{"top/mod.py": "x = 1"})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case "/storage/v1/b/b/o/dir%2Fp.zip", "/b/dir/p.zip": // as GCS and as S3 are asked
			_, _ = w.Write(data)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	for k, v := range map[string]string{
		"STORAGE_EMULATOR_HOST": srv.URL, "AWS_ENDPOINT_URL": srv.URL, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(k, v)
	}
	m := manager(t, Config{})
	for _, scheme := range []string{"s3", "gs"} {
		env, err := m.Ensure(t.Context(), Request{Env: ask(`{"working_dir": "%s://b/dir/p.zip"}`, scheme), Holder: scheme})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(env.Cwd, "mod.py")); string(text) != "x = 1" {
			t.Errorf("%s: %q, %v", scheme, text, err)
		}
		_, err = m.Ensure(t.Context(), Request{Env: ask(`{"working_dir": "%s://b/none.zip"}`, scheme), Holder: "none"})
		if err == nil || !strings.Contains(err.Error(), scheme+"://b/none.zip") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
