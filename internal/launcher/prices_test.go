package launcher

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/cluster"
	"ray/providers"
	"ray/providers/all"
	"ray/providers/prices"
)

// pricing is a provider that knows one price.
type pricing struct {
	providers.Provider
	asked *[]string
}

func (p pricing) Prices(_ context.Context, machines []string) (map[string]prices.Price, error) {
	*p.asked = machines
	return map[string]prices.Price{"m5.large": {OnDemand: 7, Spot: 2, Date: "2030-01-02"}}, nil
}

// What the provider answers goes into the plan, `ray clusters` and the head.
func TestRefreshPrices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	text := `
cluster_name: priced
provider: {type: aws, region: us-west-2}
auth: {ssh_user: u}
available_node_types:
  head: {resources: {CPU: 1}, node_config: {InstanceType: m5.large}}
  spot: {resources: {CPU: 1}, min_workers: 1, max_workers: 1, node_config: {InstanceType: m5.large, InstanceMarketOptions: {MarketType: spot}}}
  rare: {resources: {CPU: 1}, max_workers: 0, node_config: {InstanceType: zz9.large}}
head_node_type: head
max_workers: 1
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, text)
	var asked []string
	b.NewProvider = func(*cluster.Config, all.Options) (providers.Provider, error) { return pricing{b.fake, &asked}, nil }
	c, err := b.Select(t.Context(), Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := c.RefreshPrices(t.Context())
	if err != nil || strings.Join(unknown, " ") != "zz9.large" || strings.Join(asked, " ") != "m5.large zz9.large" {
		t.Errorf("asked for %v, unknown %v, %v", asked, unknown, err)
	}
	p, err := c.Plan(t.Context())
	if err != nil || math.Abs(p.Cost.Min-9) > 1e-9 || p.Cost.Newest != "2030-01-02" || !strings.Contains(p.Cost.String(), "to 2030-01-02") {
		t.Errorf("%+v %v", p.Cost, err)
	}
	n := c.node(providers.Instance{Kind: providers.Head, Type: "head"}, nil)
	if !strings.Contains(string(n.Files["~/"+prices.FileName]), "2030-01-02") {
		t.Errorf("the head does not get the prices: %v", n.Files)
	}
	if e := c.Prices(nil)["spot"]; e.USD != 2 || e.Date != "2030-01-02" {
		t.Errorf("%+v", e)
	}
}
