package providers

import "context"

// Found is a machine that carries a cluster's tag, whoever made it.
type Found struct {
	Instance
	Cluster string `json:"cluster"`
	Region  string `json:"region"`
	// Machine is the provider's name of the kind of machine, Spot whether it
	// is on the spot market: what its price is known by.
	Machine string `json:"machine"`
	Spot    bool   `json:"spot,omitempty"`
}

// Finder is a provider that can look beyond its own cluster and region.
type Finder interface {
	// Find lists every machine of the account with the tag of a cluster, in all
	// regions, those that are gone left out. With an error it gives what was
	// found where there was an answer.
	Find(ctx context.Context) ([]Found, error)
}
