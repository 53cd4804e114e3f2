package aws

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ray/internal/cluster"
	"ray/providers"
)

// motoServer finds the program of PyPI's moto[server]: in the project's own
// environment, else in PATH.
func motoServer() string {
	if own, err := filepath.Abs("../../.venv/bin/moto_server"); err == nil {
		if _, err := os.Stat(own); err == nil {
			return own
		}
	}
	path, _ := exec.LookPath("moto_server")
	return path
}

// endpoint of the one moto of this package's tests, "" where it is missing.
var endpoint string

func TestMain(m *testing.M) {
	stop := func() {}
	if path := motoServer(); path != "" {
		endpoint, stop = startMoto(path)
	}
	for k, v := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		_ = os.Setenv(k, v)
	}
	code := m.Run()
	stop()
	os.Exit(code)
}

var reRunning = regexp.MustCompile(`Running on (http://127\.0\.0\.1:\d+)`)

// startMoto starts the server at a free port and gives its address.
func startMoto(path string) (string, func()) {
	cmd := exec.Command(path, "-H", "127.0.0.1", "-p", "0")
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		panic(err)
	}
	stop := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := reRunning.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the server
			return m[1], stop
		}
	}
	stop()
	panic("moto_server ended without saying where it listens")
}

// moto gives an empty account.
func moto(t *testing.T) {
	t.Helper()
	if endpoint == "" {
		t.Skip("no moto_server: install moto[server] of scripts/requirements-test.txt into .venv, or put it into PATH")
	}
	resp, err := http.Post(endpoint+"/moto-api/reset", "", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

const clusterFile = `
cluster_name: demo
max_workers: 3
provider:
  type: aws
  region: us-west-2
  use_internal_ips: true
available_node_types:
  head:
    resources: {}
    node_config: {InstanceType: m5.large, ImageId: ami-1}
  cpu:
    max_workers: 3
    resources: {CPU: 1, special: 0.5}
    node_config:
      InstanceType: m5.xlarge
      ImageId: ami-1
      TagSpecifications:
        - ResourceType: instance
          Tags: [{Key: owner, Value: me}]
head_node_type: head
`

func parseFile(t *testing.T, text string) *cluster.Config {
	t.Helper()
	cfg, err := cluster.Parse("demo.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// prepared gives a provider of the prepared cluster.
func prepared(t *testing.T, text, dir string) *Provider {
	t.Helper()
	p, err := New(Options{Dir: dir, Config: parseFile(t, text)})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := p.Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p, err = New(Options{Dir: dir, Config: cfg}); err != nil {
		t.Fatal(err)
	}
	return p
}

var _ providers.Provider = (*Provider)(nil)
