package providers

import (
	"context"

	"ray/providers/prices"
)

// Pricer is a provider that can be asked what its machines cost now.
type Pricer interface {
	// Prices gives the price of each machine in the cluster's region, by the
	// provider's name of it; accelerators that are paid for by themselves are
	// among them. What the provider does not know is left out.
	Prices(ctx context.Context, machines []string) (map[string]prices.Price, error)
}
