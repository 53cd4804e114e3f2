package gcp

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ray/internal/testbed/gce"
	"ray/providers/providertest"
)

// catalog is the service of prices, in two pages, before a Compute Engine.
func catalog(engine http.Handler) http.Handler {
	sku := func(text, usage, region string, nanos int) map[string]any {
		return map[string]any{
			"description": text, "category": map[string]any{"usageType": usage}, "serviceRegions": []string{region},
			"pricingInfo": []any{map[string]any{"pricingExpression": map[string]any{
				"tieredRates": []any{map[string]any{"unitPrice": map[string]any{"units": "0", "nanos": nanos}}},
			}}},
		}
	}
	pages := map[string][]any{
		"": {
			sku("N1 Predefined Instance Core running in Test", "OnDemand", "us-test1", 30000000),
			sku("N1 Predefined Instance Ram running in Test", "OnDemand", "us-test1", 4000000),
			sku("N1 Predefined Instance Core running in Mars", "OnDemand", "mars1", 900000000),
		},
		"2": {
			sku("Spot Preemptible N1 Predefined Instance Core running in Test", "Preemptible", "us-test1", 6000000),
			sku("Spot Preemptible N1 Predefined Instance Ram running in Test", "Preemptible", "us-test1", 1000000),
			sku("Commitment v1: N1 Core in Test", "Commit1Yr", "us-test1", 1),
			sku("Nvidia Tesla T4 GPU running in Test", "OnDemand", "us-test1", 350000000),
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/"+computeEngine+"/skus" {
			engine.ServeHTTP(w, r)
			return
		}
		token := r.URL.Query().Get("pageToken")
		out := map[string]any{"skus": pages[token]}
		if token == "" {
			out["nextPageToken"] = "2"
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out)
	})
}

func TestPrices(t *testing.T) {
	web := httptest.NewServer(catalog(gce.New(gce.Options{Project: "p1"})))
	t.Cleanup(web.Close)
	p, err := New(Options{Dir: t.TempDir(), Config: providertest.Parse(t, strings.Replace(clusterFile, "ENDPOINT", web.URL, 1))})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Prices(t.Context(), []string{"n1-standard-2", "nvidia-tesla-t4", "z9-huge-2"})
	if err != nil {
		t.Fatal(err)
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
	if m := got["n1-standard-2"]; len(got) != 2 || !near(m.OnDemand, 2*0.03+7.5*0.004) || !near(m.Spot, 2*0.006+7.5*0.001) || !near(got["nvidia-tesla-t4"].OnDemand, 0.35) {
		t.Errorf("%+v", got)
	}
}

func TestPartOf(t *testing.T) {
	for text, want := range map[string]string{
		"N1 Predefined Instance Core running in Americas":                      "n1 core",
		"Spot Preemptible N2D AMD Instance Ram running in Frankfurt":           "n2d ram",
		"T2A Arm Instance Core running in Americas":                            "t2a core",
		"Compute optimized Core running in Americas":                           "c2 core",
		"Nvidia Tesla A100 GPU running in Americas":                            "nvidia-tesla-a100",
		"Nvidia L4 GPU attached to Spot Preemptible VMs running in Iowa":       "nvidia-l4",
		"N1 Custom Instance Core running in Americas":                          "",
		"N1 Sole Tenancy Instance Core running in Americas":                    "",
		"DWS Defined Duration N1 Predefined Instance Core running in the Moon": "",
		"Network Inter Zone Data Transfer Out":                                 "",
	} {
		if got := partOf(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
