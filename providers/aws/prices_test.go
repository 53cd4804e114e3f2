package aws

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ray/providers/prices"
	"ray/providers/providertest"
)

// priceList is the service of prices, in pages of one product, and the spot
// prices of EC2.
func priceList(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ServiceCode string
		NextToken   string
		Filters     []struct{ Field, Value string }
	}
	if r.Header.Get("X-Amz-Target") == "" { // EC2
		_ = r.ParseForm()
		if r.Form.Get("Action") != "DescribeSpotPriceHistory" || r.Form.Get("ProductDescription.1") != "Linux/UNIX" {
			http.Error(w, "?", http.StatusBadRequest)
			return
		}
		var items strings.Builder
		for zone, usd := range map[string]string{"a": "0.0500", "b": "0.0410"} {
			fmt.Fprintf(&items, "<item><instanceType>m5.large</instanceType><spotPrice>%s</spotPrice><availabilityZone>us-west-2%s</availabilityZone></item>", usd, zone)
		}
		fmt.Fprintf(w, "<DescribeSpotPriceHistoryResponse><spotPriceHistorySet>%s</spotPriceHistorySet></DescribeSpotPriceHistoryResponse>", items.String())
		return
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	got := map[string]string{}
	for _, f := range in.Filters {
		got[f.Field] = f.Value
	}
	out := map[string]any{"FormatVersion": "aws_v1", "PriceList": []string{}}
	if in.ServiceCode == "AmazonEC2" && got["regionCode"] == "us-west-2" && got["operatingSystem"] == "Linux" && got["instanceType"] == "m5.large" {
		if in.NextToken == "" {
			out["NextToken"] = "2"
		} else {
			out["PriceList"] = []string{`{"product":{},"terms":{"OnDemand":{"X.Y":{"priceDimensions":{"X.Y.Z":{"unit":"Hrs","pricePerUnit":{"USD":"0.0970000000"}}}}}}}`}
		}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(out)
}

func TestPrices(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(priceList))
	t.Cleanup(web.Close)
	t.Setenv("AWS_ENDPOINT_URL", web.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	p, err := New(Options{Dir: t.TempDir(), Config: providertest.Parse(t, clusterFile)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Prices(t.Context(), []string{"m5.large", "zz9.large"})
	if err != nil {
		t.Fatal(err)
	}
	want := prices.Price{OnDemand: 0.097, Spot: 0.041, Date: time.Now().UTC().Format(time.DateOnly)}
	if len(got) != 1 || got["m5.large"] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
