package cluster

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestOldFormIsConverted(t *testing.T) {
	cfg, err := Parse("old.yaml", []byte(`
cluster_name: old
min_workers: 1
max_workers: 3
provider: {type: aws, region: us-west-2}
head_node: {InstanceType: m5.large}
worker_nodes: {InstanceType: m5.xlarge}
`))
	if err != nil {
		t.Fatal(err)
	}
	w := cfg.NodeTypes[legacyWorker]
	if cfg.HeadType != legacyHead || w.Min != 1 || w.Max != 3 || w.NodeConfig["InstanceType"] != "m5.xlarge" {
		t.Errorf("head type %s, worker %+v", cfg.HeadType, w)
	}
	again, err := Parse("again.yaml", cfg.Marshal())
	if err != nil || !slices.Equal(again.TypeNames(), cfg.TypeNames()) {
		t.Errorf("read again: %v %v", again, err)
	}
}

func TestOldFormExcludesTheNew(t *testing.T) {
	_, err := Parse("both.yaml", []byte(`
cluster_name: old
provider: {type: aws}
head_node: {InstanceType: m5.large}
available_node_types: {a: {node_config: {}, resources: {}}}
head_node_type: a
`))
	if err == nil || !strings.Contains(err.Error(), "both.yaml:5:") || !strings.Contains(err.Error(), "old form") {
		t.Errorf("%v", err)
	}
}

func TestSchema(t *testing.T) {
	data, err := json.Marshal(Schema())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"additionalProperties":false`, `"max_workers":{"minimum":0,"type":"integer"}`, `"worker_ips"`, `"const":"aws"`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the schema lacks %s", want)
		}
	}
}
