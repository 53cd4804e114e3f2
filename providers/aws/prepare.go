package aws

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/internal/cluster"
	"ray/providers"
)

// Prepare implements providers.Preparer: it fills what the file leaves open.
func (p *Provider) Prepare(ctx context.Context) (*cluster.Config, error) { return p.fill(ctx, false) }

// Foresee implements providers.Preparer.
func (p *Provider) Foresee(ctx context.Context) (*cluster.Config, error) { return p.fill(ctx, true) }

func (p *Provider) fill(ctx context.Context, look bool) (*cluster.Config, error) {
	client, err := p.ec2(ctx)
	if err != nil {
		return nil, err
	}
	s := &setup{Provider: p, look: look, ec2: client, doc: p.o.Config.Document(), specs: map[string]launchSpec{}}
	for name, t := range p.o.Config.NodeTypes {
		s.specs[name], _ = parse(t.NodeConfig, "")
	}
	for _, do := range []func(context.Context) error{s.describeTypes, s.images, s.keyPair, s.network, s.profile} {
		if err := do(ctx); err != nil {
			return nil, err
		}
	}
	return p.o.Config.Edit(func(doc map[string]any) { maps.Copy(doc, s.doc) }), nil
}

// setup is one run of Prepare.
type setup struct {
	*Provider
	look  bool // make nothing
	ec2   *ec2.Client
	doc   map[string]any
	specs map[string]launchSpec
	arch  map[string]string // node type → architecture
}

// config is the node_config of a node type in the result.
func (s *setup) config(name string) map[string]any { return section(s.nodeType(name), "node_config") }

func (s *setup) nodeType(name string) map[string]any {
	return section(section(s.doc, "available_node_types"), name)
}

// section gives the mapping at a key, made where there is none.
func section(m map[string]any, key string) map[string]any {
	in, ok := m[key].(map[string]any)
	if !ok {
		in = map[string]any{}
		m[key] = in
	}
	return in
}

// describeTypes asks what the instance types have, for the resources that the
// file leaves out.
func (s *setup) describeTypes(ctx context.Context) error {
	var want []types.InstanceType
	for name, spec := range s.specs {
		if len(spec.types) == 0 && spec.input.LaunchTemplate == nil {
			return s.bad(name, "", "InstanceType is missing")
		}
		for _, t := range spec.types {
			want = append(want, types.InstanceType(t))
		}
	}
	slices.Sort(want)
	known := map[string]types.InstanceTypeInfo{}
	for part := range slices.Chunk(slices.Compact(want), 100) {
		out, err := s.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: part})
		if err != nil {
			return failed("look up instance types", err)
		}
		for _, i := range out.InstanceTypes {
			known[string(i.InstanceType)] = i
		}
	}
	s.arch = map[string]string{}
	for name, spec := range s.specs {
		for _, t := range spec.types {
			info, ok := known[t]
			if !ok {
				return s.bad(name, ".InstanceType", fmt.Sprintf("region %s has no instance type %s", s.region(), t))
			}
			s.arch[name] = architecture(info)
		}
		if len(spec.types) > 0 { // the first is what is wanted; nodes report what they really have
			s.fillResources(name, known[spec.types[0]])
		}
	}
	return nil
}

func (s *setup) bad(nodeType, field, why string) error {
	return cluster.Problems{s.o.Config.Problem("available_node_types."+nodeType+".node_config"+field, why)}
}

func architecture(i types.InstanceTypeInfo) string {
	if i.ProcessorInfo != nil && slices.Contains(i.ProcessorInfo.SupportedArchitectures, types.ArchitectureTypeArm64) {
		return "arm64"
	}
	return "x86_64"
}

// usable is the share of a machine's memory that is offered to tasks; the
// system and the object store have the rest.
const usable = 0.7

func (s *setup) fillResources(name string, info types.InstanceTypeInfo) {
	found := map[string]any{}
	if info.VCpuInfo != nil {
		found["CPU"] = int64(aws.ToInt32(info.VCpuInfo.DefaultVCpus))
	}
	if info.MemoryInfo != nil && name != s.o.Config.HeadType {
		found["memory"] = int64(float64(aws.ToInt64(info.MemoryInfo.SizeInMiB)<<20) * usable)
	}
	if info.GpuInfo != nil {
		var n int64
		for _, g := range info.GpuInfo.Gpus {
			n += int64(aws.ToInt32(g.Count))
			found["accelerator_type:"+strings.ReplaceAll(aws.ToString(g.Name), " ", "-")] = int64(1)
		}
		found["GPU"] = n
	}
	given := section(s.nodeType(name), "resources")
	for k, v := range found {
		if _, ok := given[k]; !ok {
			given[k] = v
		}
	}
}

// Image names of Canonical and of AWS's machine learning images.
const (
	canonical    = "099720109477"
	ubuntuImages = "ubuntu/images/hvm-ssd*/ubuntu-noble-24.04-%s-server-*"
	deepImages   = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) *"
	latestDeep   = "latest_dlami"
)

// images chooses an image for node types without one: Ubuntu, of the type's
// architecture, or with drivers where it has GPUs.
func (s *setup) images(ctx context.Context) error {
	found := map[string]string{}
	for _, name := range s.o.Config.TypeNames() {
		spec := s.specs[name]
		if id := aws.ToString(spec.input.ImageId); id != "" && id != latestDeep || spec.input.LaunchTemplate != nil {
			continue
		}
		arch := s.arch[name]
		owner, pattern := canonical, fmt.Sprintf(ubuntuImages, map[string]string{"x86_64": "amd64", "arm64": "arm64"}[arch])
		if _, gpu := section(s.nodeType(name), "resources")["GPU"]; gpu || aws.ToString(spec.input.ImageId) == latestDeep {
			owner, pattern = "amazon", deepImages
		}
		key := owner + pattern + arch
		if found[key] == "" {
			id, err := s.newest(ctx, owner, pattern, arch)
			if err != nil {
				return err
			}
			if found[key] = id; id == "" {
				return s.bad(name, "", fmt.Sprintf("region %s has no image %q of %s; set ImageId", s.region(), pattern, owner))
			}
		}
		s.config(name)["ImageId"] = found[key]
	}
	return nil
}

func (s *setup) newest(ctx context.Context, owner, pattern, arch string) (string, error) {
	out, err := s.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{owner}, Filters: []types.Filter{
		filter("name", pattern), filter("architecture", arch), filter("state", "available"), filter("root-device-type", "ebs"),
	}})
	if err != nil {
		return "", failed("look for an image", err)
	}
	if len(out.Images) == 0 {
		return "", nil
	}
	return aws.ToString(slices.MaxFunc(out.Images, func(a, b types.Image) int {
		return cmp.Or(cmp.Compare(aws.ToString(a.CreationDate), aws.ToString(b.CreationDate)), cmp.Compare(aws.ToString(a.ImageId), aws.ToString(b.ImageId)))
	}).ImageId), nil
}

// ownTags mark what Prepare makes, so that Cleanup finds it.
func (p *Provider) ownTags(kind types.ResourceType) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: kind, Tags: []types.Tag{
		{Key: aws.String(providers.TagCluster), Value: aws.String(p.o.Config.Name)},
		{Key: aws.String("ray-autoscaler"), Value: aws.String("true")},
	}}}
}
