package aws

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"ray/internal/testbed/moto"
	"ray/providers"
	"ray/providers/providertest"
)

// endpoint of the one moto of this package's tests, "" where it is missing;
// front stands before it and can be told to fail.
var (
	endpoint string
	front    *moto.Front
)

func TestMain(m *testing.M) { os.Exit(withMoto(m)) }

func withMoto(m *testing.M) int {
	if program := moto.Program("../.."); program != "" {
		address, stop, err := moto.Start(program)
		if err != nil {
			panic(err)
		}
		defer stop()
		if front, err = moto.NewFront(address); err != nil {
			panic(err)
		}
		web := httptest.NewServer(front)
		defer web.Close()
		endpoint = web.URL
	}
	for k, v := range map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		_ = os.Setenv(k, v)
	}
	return m.Run()
}

// account gives an empty account.
func account(t *testing.T) {
	t.Helper()
	if endpoint == "" {
		t.Skip(moto.Missing)
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

// opened gives a provider of the cluster as the file has it.
func opened(t *testing.T, text, dir string) *Provider {
	t.Helper()
	p, err := New(Options{Dir: dir, Config: providertest.Parse(t, text)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// prepared gives a provider of the prepared cluster.
func prepared(t *testing.T, text, dir string) *Provider {
	t.Helper()
	p := opened(t, text, dir)
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
