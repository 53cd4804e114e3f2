package prices

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"ray/internal/cluster"
)

func TestMachine(t *testing.T) {
	for _, c := range []struct {
		cloud, region, machine string
		spot                   bool
		want                   float64 // 0: not known
	}{
		{"aws", "us-west-2", "m5.large", false, 0.096},
		{"aws", "us-east-1", "m5.4xlarge", false, 0.768},
		{"aws", "us-east-1", "t3.micro", false, 0.0104},
		{"aws", "us-east-1", "m5.large", true, 0.0384},
		{"aws", "eu-central-1", "m5.large", false, 0.1152},
		{"aws", "us-east-1", "g5.12xlarge", false, 5.672},
		{"aws", "us-east-1", "m5.huge", false, 0},
		{"aws", "us-east-1", "zz9.large", false, 0},
		{"aws", "mars-1", "m5.large", false, 0},
		{"gcp", "us-west1", "n1-standard-2", false, 0.095},
		{"gcp", "us-west1", "e2-micro", false, 0.0084},
		{"gcp", "us-west1", "n1-standard-x", false, 0},
		{"azure", "westus2", "Standard_D2s_v3", false, 0},
	} {
		got, ok := Builtin().Machine(c.cloud, c.region, c.machine, c.spot)
		if ok != (c.want > 0) || ok && math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v: %v %v", c, got, ok)
		}
	}
	if _, err := time.Parse(time.DateOnly, Builtin().Date); err != nil {
		t.Error(err)
	}
}

func TestNodeType(t *testing.T) {
	for text, want := range map[string]Estimate{
		"provider: {type: aws, region: us-west-2}\navailable_node_types: {h: {resources: {}, node_config: {InstanceType: m5.large, InstanceMarketOptions: {MarketType: spot}}}}":                                                                           {USD: 0.0384, Known: true, Spot: true, Machine: "m5.large"},
		"provider: {type: aws, region: us-west-2}\navailable_node_types: {h: {resources: {}, node_config: {}}}":                                                                                                                                            {},
		"provider: {type: gcp, region: us-west1, project_id: p}\navailable_node_types: {h: {resources: {}, node_config: {machineType: zones/z/machineTypes/n1-standard-4, guestAccelerators: [{acceleratorType: nvidia-tesla-t4, acceleratorCount: 2}]}}}": {USD: 0.89, Known: true, Machine: "n1-standard-4", Accelerators: []string{"nvidia-tesla-t4"}},
		"provider: {type: gcp, region: us-west1, project_id: p}\navailable_node_types: {h: {resources: {}, node_config: {machineType: n1-standard-2, scheduling: [{preemptible: true}]}}}":                                                                 {USD: 0.03325, Known: true, Spot: true, Machine: "n1-standard-2"},
		"provider: {type: process}\navailable_node_types: {h: {resources: {CPU: 1}, node_config: {}}}":                                                                                                                                                     {Known: true, Free: true},
	} {
		cfg, err := cluster.Parse("x.yaml", []byte("cluster_name: x\nhead_node_type: h\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		got := Builtin().NodeType(cfg, "h")
		if math.Abs(got.USD-want.USD) < 1e-9 {
			got.USD = want.USD
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v\nwant %+v", text, got, want)
		}
	}
}

func TestAskedPricesGoFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prices.json")
	asked := map[string]map[string]Price{"mars-1": {"m5.large": {OnDemand: 7, Spot: 2}}}
	if err := Save(path, "aws", asked); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, "aws", map[string]map[string]Price{"mars-2": {"m5.large": {OnDemand: 8}}}); err != nil {
		t.Fatal(err)
	}
	table, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		region string
		spot   bool
		want   float64
	}{{"mars-1", false, 7}, {"mars-1", true, 2}, {"mars-2", true, 3.2}, {"us-east-1", false, 0.096}} {
		if got, ok := table.Machine("aws", c.region, "m5.large", c.spot); !ok || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v: %v %v", c, got, ok)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("a broken file was read")
	}
	if table, err := Load(filepath.Join(t.TempDir(), "none")); err != nil || table != Builtin() {
		t.Error(err)
	}
}
