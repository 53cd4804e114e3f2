package aws

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/providers"
)

var _ providers.Tagger = (*Provider)(nil)

// Tag implements providers.Tagger.
func (p *Provider) Tag(ctx context.Context, id string, tags map[string]string) error {
	client, err := p.ec2(ctx)
	if err != nil {
		return err
	}
	in := &ec2.CreateTagsInput{Resources: []string{id}}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}
	if _, err := client.CreateTags(ctx, in); err != nil {
		return failed("tag "+id, err)
	}
	return nil
}
