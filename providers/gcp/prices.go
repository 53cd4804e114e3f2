package gcp

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	compute "cloud.google.com/go/compute/apiv1"
	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/api/cloudbilling/v1"

	"ray/providers"
	"ray/providers/prices"
)

var _ providers.Pricer = (*Provider)(nil)

// computeEngine is the service's name in the catalog of prices.
const computeEngine = "services/6F81-5844-456A"

// rates are prices of parts, by the hour: "n1 core", "n1 ram" (a GiB) or an
// accelerator's name; the second is that of spot machines.
type rates map[string][2]float64

// Prices implements providers.Pricer: machines are priced by their parts.
func (p *Provider) Prices(ctx context.Context, machines []string) (map[string]prices.Price, error) {
	c, err := p.connectAPI(ctx)
	if err != nil {
		return nil, err
	}
	catalog, err := cloudbilling.NewService(ctx, c.options...)
	if err != nil {
		return nil, failed("log in to Google Cloud", err)
	}
	known := rates{}
	err = catalog.Services.Skus.List(computeEngine).CurrencyCode("USD").Pages(ctx, func(page *cloudbilling.ListSkusResponse) error {
		for _, sku := range page.Skus {
			known.add(sku, p.region())
		}
		return nil
	})
	if err != nil {
		return nil, failed("ask for prices", err)
	}
	out := map[string]prices.Price{}
	today := time.Now().UTC().Format(time.DateOnly)
	for _, m := range machines {
		price := known[m] // an accelerator
		if family, _, isMachine := strings.Cut(m, "-"); isMachine && price[0] == 0 {
			cores, gib, err := p.parts(ctx, m)
			if err != nil {
				return nil, err
			}
			for n := range price {
				if known[family+" core"][n] > 0 {
					price[n] = cores*known[family+" core"][n] + gib*known[family+" ram"][n]
				}
			}
		}
		if price[0] > 0 {
			out[m] = prices.Price{OnDemand: price[0], Spot: price[1], Date: today}
		}
	}
	return out, nil
}

var (
	rePart = regexp.MustCompile(`^(?:Spot Preemptible |Preemptible )?([A-Z]\d+[A-Z]?)(?: Predefined| AMD| Arm)? Instance (Core|Ram) running in`)
	reC2   = regexp.MustCompile(`^(?:Spot Preemptible |Preemptible )?Compute[ -]optimized (?:Instance )?(Core|Ram) running in`)
	reGPU  = regexp.MustCompile(`^Nvidia (Tesla )?([A-Z]+\d+(?: \d+GB)?) GPU (?:attached to (?:Spot )?Preemptible VMs )?running in`)
)

// add takes an entry of the catalog that prices a part in the region.
func (r rates) add(sku *cloudbilling.Sku, region string) {
	if sku.Category == nil || !slices.Contains(sku.ServiceRegions, region) || len(sku.PricingInfo) == 0 {
		return
	}
	n := 0
	switch sku.Category.UsageType {
	case "OnDemand":
	case "Preemptible":
		n = 1
	default:
		return // commitments
	}
	part := partOf(sku.Description)
	tiers := sku.PricingInfo[len(sku.PricingInfo)-1].PricingExpression
	if part == "" || tiers == nil || len(tiers.TieredRates) == 0 {
		return
	}
	unit := tiers.TieredRates[len(tiers.TieredRates)-1].UnitPrice
	price := r[part]
	price[n] = float64(unit.Units) + float64(unit.Nanos)/1e9
	r[part] = price
}

// partOf gives the part that an entry of the catalog describes, "" for others.
func partOf(description string) string {
	if m := rePart.FindStringSubmatch(description); m != nil {
		return strings.ToLower(m[1] + " " + m[2])
	}
	if m := reC2.FindStringSubmatch(description); m != nil {
		return "c2 " + strings.ToLower(m[1])
	}
	if m := reGPU.FindStringSubmatch(description); m != nil {
		tesla := ""
		if m[1] != "" {
			tesla = "tesla-"
		}
		return "nvidia-" + tesla + strings.ToLower(strings.ReplaceAll(m[2], " ", "-"))
	}
	return ""
}

// shared are machines that have a share of their cores only.
var shared = map[string]float64{"e2-micro": 0.25, "e2-small": 0.5, "e2-medium": 1}

// parts gives a machine's cores and GiB of memory, 0 for what is no machine.
func (p *Provider) parts(ctx context.Context, machine string) (cores, gib float64, err error) {
	found, err := p.machineType(ctx, machine)
	if err != nil || found == nil {
		return 0, 0, err
	}
	cores, gib = float64(found.GetGuestCpus()), float64(found.GetMemoryMb())/1024
	if share := shared[machine]; share > 0 {
		cores = share
	}
	return cores, gib, nil
}

// machineType describes a type of machine; nil if there is none of the name.
func (p *Provider) machineType(ctx context.Context, name string) (*computepb.MachineType, error) {
	client, err := compute.NewMachineTypesRESTClient(ctx, p.clients.options...)
	if err != nil {
		return nil, failed("look up machine types", err)
	}
	defer func() { _ = client.Close() }()
	zone := p.region() + "-b" // which every region has
	if zones := p.zones(); len(zones) > 0 {
		zone = zones[0]
	}
	t, err := client.Get(ctx, &computepb.GetMachineTypeRequest{Project: p.project(), Zone: zone, MachineType: name})
	if isNotFound(err) {
		return nil, nil
	}
	return t, failed("look up the machine type "+name, err)
}
