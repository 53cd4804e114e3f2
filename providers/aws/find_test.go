package aws

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/providers"
	"ray/providers/providertest"
)

// Find sees machines of other clusters, in other regions, and no others.
func TestFind(t *testing.T) {
	account(t)
	p, err := New(Options{Dir: t.TempDir(), Config: providertest.Parse(t, clusterFile)})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := p.aws(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	one, image := int32(1), "ami-1"
	run := func(region string, tags ...string) string {
		there := conf.Copy()
		there.Region = region
		in := &ec2.RunInstancesInput{MinCount: &one, MaxCount: &one, ImageId: &image, InstanceType: types.InstanceTypeC5Large}
		var list []types.Tag
		for i := 0; i < len(tags); i += 2 {
			list = append(list, types.Tag{Key: &tags[i], Value: &tags[i+1]})
		}
		if len(list) > 0 {
			in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: list}}
		}
		out, err := ec2.NewFromConfig(there).RunInstances(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return *out.Instances[0].InstanceId
	}
	lost := run("eu-west-1", providers.TagCluster, "lost", providers.TagKind, providers.Worker)
	near := run("us-west-2", providers.TagCluster, "near", providers.TagKind, providers.Head)
	run("us-west-2")
	// All regions of moto would take long to be made.
	found, err := findInAll(t.Context(), conf, []string{"us-west-2", "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]providers.Found{}
	for _, f := range found {
		got[f.ID] = f
	}
	if len(found) != 2 || got[lost].Cluster != "lost" || got[lost].Region != "eu-west-1" || got[lost].Machine != "c5.large" || got[lost].Kind != providers.Worker {
		t.Errorf("%+v", found)
	}
	if got[near].Region != "us-west-2" || got[near].Kind != providers.Head {
		t.Errorf("%+v", found)
	}
}
