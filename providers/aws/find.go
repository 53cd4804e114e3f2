package aws

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/providers"
)

var _ providers.Finder = (*Provider)(nil)

// Find implements providers.Finder: in every region that the account has
// enabled, all at once.
func (p *Provider) Find(ctx context.Context) ([]providers.Found, error) {
	conf, err := p.aws(ctx)
	if err != nil {
		return nil, err
	}
	list, err := ec2.NewFromConfig(conf).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	if err != nil {
		return nil, failed("list the regions", err)
	}
	var names []string
	for _, r := range list.Regions {
		names = append(names, aws.ToString(r.RegionName))
	}
	return findInAll(ctx, conf, names)
}

func findInAll(ctx context.Context, conf aws.Config, regions []string) ([]providers.Found, error) {
	found := make([][]providers.Found, len(regions))
	errs := make([]error, len(regions))
	var wg sync.WaitGroup
	for n, region := range regions {
		wg.Go(func() {
			there := conf.Copy()
			there.Region = region
			if found[n], errs[n] = findIn(ctx, ec2.NewFromConfig(there), region); errs[n] != nil {
				errs[n] = fmt.Errorf("%s: %w", region, errs[n])
			}
		})
	}
	wg.Wait()
	var all []providers.Found
	for _, f := range found {
		all = append(all, f...)
	}
	return all, errors.Join(errs...)
}

func findIn(ctx context.Context, client *ec2.Client, region string) ([]providers.Found, error) {
	var out []providers.Found
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: []types.Filter{filter("tag-key", providers.TagCluster)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return out, failed("list instances", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				inst := instance(i)
				if !inst.State.Live() {
					continue
				}
				out = append(out, providers.Found{
					Instance: inst, Cluster: inst.Tags[providers.TagCluster], Region: region,
					Machine: string(i.InstanceType), Spot: i.InstanceLifecycle == types.InstanceLifecycleTypeSpot,
				})
			}
		}
	}
	return out, nil
}
