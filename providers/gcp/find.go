package gcp

import (
	"context"
	"strings"

	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/proto"

	"ray/providers"
)

var _ providers.Finder = (*Provider)(nil)

// Find implements providers.Finder, in all zones of the project.
func (p *Provider) Find(ctx context.Context) ([]providers.Found, error) {
	c, err := p.connectAPI(ctx)
	if err != nil {
		return nil, err
	}
	var out []providers.Found
	ctx, release := within(ctx)
	defer release()
	pages := c.instances.AggregatedList(ctx, &computepb.AggregatedListInstancesRequest{
		Project: p.project(), Filter: proto.String("labels." + providers.TagCluster + ":*"),
	})
	for {
		pair, err := pages.Next()
		if err == iterator.Done {
			return out, nil
		}
		if err != nil {
			return out, failed("list instances", err)
		}
		for _, i := range pair.Value.GetInstances() {
			inst := instance(i)
			name := inst.Tags[providers.TagCluster]
			if name == "" || !inst.State.Live() {
				continue
			}
			zone := lastPart(i.GetZone())
			region := zone
			if n := strings.LastIndexByte(zone, '-'); n > 0 {
				region = zone[:n]
			}
			s := i.GetScheduling()
			out = append(out, providers.Found{
				Instance: inst, Cluster: name, Region: region, Machine: lastPart(i.GetMachineType()),
				Spot: s.GetPreemptible() || s.GetProvisioningModel() == "SPOT",
			})
		}
	}
}
