package gcp

import (
	"context"
	"fmt"
	"maps"

	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/protobuf/proto"

	"ray/providers"
)

var _ providers.Tagger = (*Provider)(nil)

// Tag implements providers.Tagger. Labels are replaced as a whole, under a
// fingerprint: who was overtaken by another reads them again.
func (p *Provider) Tag(ctx context.Context, id string, tags map[string]string) error {
	c, err := p.connectAPI(ctx)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		live, err := p.live(ctx)
		if err != nil {
			return err
		}
		m, ok := live[id]
		if !ok {
			return fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
		}
		labels := maps.Clone(m.Tags)
		for k, v := range tags {
			labels[k] = label(v)
		}
		if maps.Equal(labels, m.Tags) {
			return nil
		}
		_, err = c.instances.SetLabels(ctx, &computepb.SetLabelsInstanceRequest{
			Project: p.project(), Zone: m.zone, Instance: id,
			InstancesSetLabelsRequestResource: &computepb.InstancesSetLabelsRequest{
				Labels: labels, LabelFingerprint: proto.String(m.fingerprint),
			},
		})
		if !isStale(err) || try >= launchTries {
			return failed("label "+id, err)
		}
	}
}
