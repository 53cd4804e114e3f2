package gs

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadsTheObjectAsTheJSONAPIServesIt(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "":
			t.Error("credentials went to the emulator")
		case r.URL.EscapedPath() == "/storage/v1/b/bucket/o/dir%2Fa%20b.zip" && r.URL.Query().Get("alt") == "media":
			_, _ = io.WriteString(w, "content")
		case strings.Contains(r.URL.Path, "/private/"):
			http.Error(w, "no", http.StatusForbidden)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(srv.URL, "http://"))
	body, err := Open(t.Context(), "bucket", "dir/a b.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); string(data) != "content" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	for bucket, want := range map[string]string{"none": "no such object", "private": "is not public"} {
		if _, err := Open(t.Context(), bucket, "x.zip"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", bucket, err)
		}
	}
}

func TestCredentialsThatCannotBeUsedAreNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(path, []byte("not JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	if _, err := Open(t.Context(), "b", "o.zip"); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
