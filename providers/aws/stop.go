package aws

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/providers"
)

var _ providers.Stopper = (*Provider)(nil)

// Stop implements providers.Stopper. Spot instances are ended: EC2 refuses to
// stop those of a one-time request.
func (p *Provider) Stop(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	client, err := p.ec2(ctx)
	if err != nil {
		return err
	}
	var stop, end []string
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{
		Filters: []types.Filter{filter("tag:"+providers.TagCluster, p.o.Config.Name)},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failed("list instances", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				id := *i.InstanceId
				switch {
				case !slices.Contains(ids, id) || !instance(i).State.Up():
				case i.InstanceLifecycle == types.InstanceLifecycleTypeSpot:
					end = append(end, id)
				default:
					stop = append(stop, id)
				}
			}
		}
	}
	// What ends goes first: the caller's own machine may be among the others.
	if err := p.Terminate(ctx, end); err != nil {
		return err
	}
	for part := range slices.Chunk(stop, chunk) {
		if _, err := client.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: part}); err != nil {
			return failed(fmt.Sprintf("stop %d instances", len(part)), err)
		}
	}
	return nil
}

// stoppedWithin is how long an instance may take to stop.
const stoppedWithin = 5 * time.Minute

// Restart implements providers.Stopper.
func (p *Provider) Restart(ctx context.Context, id string, tags map[string]string) error {
	client, err := p.ec2(ctx)
	if err != nil {
		return err
	}
	if len(tags) > 0 {
		if err := p.Tag(ctx, id, tags); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(stoppedWithin); ; {
		_, err := client.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
		// It may be on its way down yet.
		if !is(err, "IncorrectInstanceState") || time.Now().After(deadline) {
			return failed("start "+id, err)
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}
