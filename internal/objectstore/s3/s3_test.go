package s3

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// moto starts PyPI's moto server and points the SDK to it.
func moto(t *testing.T) {
	t.Helper()
	path, err := filepath.Abs("../../../.venv/bin/moto_server")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		if path, err = exec.LookPath("moto_server"); err != nil {
			t.Skip("no moto_server: install moto[server] of scripts/requirements-test.txt into .venv, or put it into PATH")
		}
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "moto.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-H", "127.0.0.1", "-p", "0")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); _ = log.Close() })
	listens := regexp.MustCompile(`Running on (http://127\.0\.0\.1:\d+)`)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(log.Name())
		if m := listens.FindSubmatch(text); m != nil {
			account(t, string(m[1]))
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("moto_server did not say where it listens: %s", text)
		}
	}
}

func account(t *testing.T, endpoint string) {
	for k, v := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_MAX_ATTEMPTS": "1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(k, v)
	}
}

func TestReadsAnObject(t *testing.T) {
	moto(t)
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithDefaultRegion(fallbackRegion))
	if err != nil {
		t.Fatal(err)
	}
	client, bucket, key := s3.NewFromConfig(cfg, style), "packages", "dir/a b.zip"
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	put := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader([]byte("content"))}
	if _, err := client.PutObject(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	body, err := Open(t.Context(), bucket, key)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); string(data) != "content" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := Open(t.Context(), bucket, "none.zip"); err == nil || !strings.Contains(err.Error(), "no such object") {
		t.Error(err)
	}
	if _, err := Open(t.Context(), "nobucket", key); err == nil || !strings.Contains(err.Error(), "no bucket nobucket") {
		t.Error(err)
	}
}

func TestFollowsTheBucketToItsRegion(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if strings.Contains(r.Header.Get("Authorization"), "/eu-north-1/s3/") {
			_, _ = io.WriteString(w, "there")
			return
		}
		w.Header().Set("X-Amz-Bucket-Region", "eu-north-1")
		w.WriteHeader(http.StatusMovedPermanently)
		_, _ = io.WriteString(w, "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>")
	}))
	defer srv.Close()
	account(t, srv.URL)
	body, err := Open(t.Context(), "b", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, _ := io.ReadAll(body); string(data) != "there" || asked.Load() != 2 {
		t.Errorf("%q after %d requests", data, asked.Load())
	}
}
