package launcher

import (
	"math"
	"slices"
	"strings"
	"testing"

	"ray/internal/cluster"
	"ray/providers"
	"ray/providers/prices"
)

func TestCost(t *testing.T) {
	cfg, err := cluster.Parse("x.yaml", []byte(`
cluster_name: x
max_workers: 5
provider: {type: aws, region: us-east-1}
available_node_types:
  head: {resources: {}, node_config: {InstanceType: m5.large}}
  cheap: {resources: {}, node_config: {InstanceType: m5.large, InstanceMarketOptions: {MarketType: spot}}, min_workers: 1}
  dear: {resources: {}, node_config: {InstanceType: m5.xlarge}, max_workers: 2}
  odd: {resources: {}, node_config: {InstanceType: zz9.large}}
head_node_type: head
`))
	if err != nil {
		t.Fatal(err)
	}
	c := costOf(cfg, prices.Builtin(), []providers.Instance{{Type: "head"}, {Type: "dear"}, {Type: "gone"}})
	for what, pair := range map[string][2]float64{
		"now": {c.Now, 0.096 + 0.192},
		"min": {c.Min, 0.096 + 0.0384},
		"max": {c.Max, 0.096 + 2*0.192 + 3*0.0384},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-9 {
			t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
		}
	}
	if !slices.Equal(c.Unknown, []string{"odd"}) || !strings.Contains(c.String(), "not known: odd") {
		t.Error(c)
	}
}
