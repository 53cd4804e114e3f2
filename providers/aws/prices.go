package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/pricing"
	"github.com/aws/aws-sdk-go-v2/service/pricing/types"

	"ray/providers"
	"ray/providers/prices"
)

var _ providers.Pricer = (*Provider)(nil)

// priceRegion is one of the few regions where the price list is served; it
// knows the prices of all.
const priceRegion = "us-east-1"

// Prices implements providers.Pricer: on demand from the price list, spot as
// it is now in the cheapest zone.
func (p *Provider) Prices(ctx context.Context, machines []string) (map[string]prices.Price, error) {
	conf, err := p.aws(ctx)
	if err != nil {
		return nil, err
	}
	there := conf.Copy()
	there.Region = priceRegion
	list := pricing.NewFromConfig(there)
	today := time.Now().UTC().Format(time.DateOnly)
	out := map[string]prices.Price{}
	for _, m := range machines {
		usd, err := onDemand(ctx, list, p.region(), m)
		if err != nil {
			return nil, failed("ask for the price of "+m, err)
		}
		if usd > 0 {
			out[m] = prices.Price{OnDemand: usd, Date: today}
		}
	}
	spot, err := spotPrices(ctx, ec2.NewFromConfig(conf), machines)
	if err != nil {
		return nil, failed("ask for spot prices", err)
	}
	for m, usd := range spot {
		price := out[m]
		price.Spot, price.Date = usd, today
		out[m] = price
	}
	return out, nil
}

// onDemand is 0 for what the list does not have.
func onDemand(ctx context.Context, client *pricing.Client, region, machine string) (float64, error) {
	in := &pricing.GetProductsInput{ServiceCode: aws.String("AmazonEC2")}
	for _, f := range [][2]string{
		{"regionCode", region}, {"instanceType", machine}, {"operatingSystem", "Linux"},
		{"tenancy", "Shared"}, {"preInstalledSw", "NA"}, {"capacitystatus", "Used"},
	} {
		in.Filters = append(in.Filters, types.Filter{Type: types.FilterTypeTermMatch, Field: aws.String(f[0]), Value: aws.String(f[1])})
	}
	for pages := pricing.NewGetProductsPaginator(client, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, err
		}
		for _, text := range page.PriceList {
			usd, err := hourly(text)
			if err != nil || usd > 0 {
				return usd, err
			}
		}
	}
	return 0, nil
}

// hourly reads one product of the price list.
func hourly(text string) (float64, error) {
	var product struct {
		Terms struct {
			OnDemand map[string]struct {
				PriceDimensions map[string]struct {
					Unit         string
					PricePerUnit map[string]string
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &product); err != nil {
		return 0, fmt.Errorf("the price list cannot be read: %w", err)
	}
	for _, term := range product.Terms.OnDemand {
		for _, d := range term.PriceDimensions {
			if usd, err := strconv.ParseFloat(d.PricePerUnit["USD"], 64); err == nil && d.Unit == "Hrs" && usd > 0 {
				return usd, nil
			}
		}
	}
	return 0, nil
}

func spotPrices(ctx context.Context, client *ec2.Client, machines []string) (map[string]float64, error) {
	in := &ec2.DescribeSpotPriceHistoryInput{ProductDescriptions: []string{"Linux/UNIX"}, StartTime: aws.Time(time.Now())}
	for _, m := range machines {
		in.InstanceTypes = append(in.InstanceTypes, ec2types.InstanceType(m))
	}
	out := map[string]float64{}
	if len(machines) == 0 {
		return out, nil
	}
	for pages := ec2.NewDescribeSpotPriceHistoryPaginator(client, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.SpotPriceHistory {
			usd, err := strconv.ParseFloat(aws.ToString(s.SpotPrice), 64)
			if m := string(s.InstanceType); err == nil && (out[m] == 0 || usd < out[m]) {
				out[m] = usd
			}
		}
	}
	return out, nil
}
