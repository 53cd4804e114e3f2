package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/providers"
)

// wanted lists the ways to get a machine of a node type.
func (s launchSpec) wanted() providers.Wanted {
	market := s.input.InstanceMarketOptions
	spot := market != nil && market.MarketType == types.MarketTypeSpot
	return providers.Wanted{Types: s.types, Places: s.subnets, Spot: spot, Fallback: s.spotFallback}
}

// Create implements providers.Provider.
func (p *Provider) Create(ctx context.Context, req providers.CreateRequest) ([]providers.Instance, error) {
	nt, ok := p.o.Config.NodeTypes[req.Type]
	if !ok {
		return nil, &providers.Error{Cause: providers.BadConfig, Op: "create " + req.Type, Err: fmt.Errorf("no such node type in %s", p.o.Config.Source)}
	}
	s, errs := parse(nt.NodeConfig, "available_node_types."+req.Type+".node_config")
	if len(errs) > 0 {
		return nil, &providers.Error{Cause: providers.BadConfig, Op: "create " + req.Type, Err: errs[0]}
	}
	made, generation, err := p.existing(ctx, req)
	if err != nil || len(made) >= req.Count {
		return made, err
	}
	for _, o := range p.offers.For(req, s.wanted(), true, time.Now()) {
		var more []providers.Instance
		more, err = p.launch(ctx, s, o, req, req.Count-len(made), generation)
		p.remember(more, time.Now())
		made = append(made, more...)
		p.offers.Tell(req, o, err, time.Now())
		if err == nil && len(made) >= req.Count {
			return byID(made), nil
		}
		if c := providers.CauseOf(err); err != nil && c != providers.Capacity && c != providers.Quota {
			return made, err
		}
	}
	return made, err
}

// Offerings implements providers.Offerer.
func (p *Provider) Offerings(nodeType string) []providers.Offering {
	s, errs := parse(p.o.Config.NodeTypes[nodeType].NodeConfig, "")
	if len(errs) > 0 {
		return nil
	}
	return s.wanted().All()
}

// existing gives the instances that an earlier try of the request made. For a
// head, whose launchers may be several, it is any head; generation changes
// with every head that ended.
func (p *Provider) existing(ctx context.Context, req providers.CreateRequest) (made []providers.Instance, generation string, err error) {
	all, err := p.List(ctx)
	if err != nil {
		return nil, "", err
	}
	generation = req.Token
	if req.Kind == providers.Head {
		generation = providers.Head
	}
	for _, i := range all {
		switch head := req.Kind == providers.Head && i.Kind == providers.Head; {
		case head && i.State == providers.Terminated:
			generation = i.ID
		case i.State.Up() && (head || i.Tags[providers.TagRequest] == req.Token):
			made = append(made, i)
		}
	}
	return byID(made), generation, nil
}

// byID orders what one request made, so that repeating it gives the same list.
func byID(list []providers.Instance) []providers.Instance {
	slices.SortFunc(list, func(a, b providers.Instance) int { return strings.Compare(a.ID, b.ID) })
	return list
}

const (
	// profileWait is how long a new instance profile may be unknown to EC2.
	profileWait = time.Minute
	launchTries = 5
)

// launch makes n instances by one offering, or as many as there are.
func (p *Provider) launch(ctx context.Context, s launchSpec, o providers.Offering, req providers.CreateRequest, n int, generation string) ([]providers.Instance, error) {
	client, err := p.ec2(ctx)
	if err != nil {
		return nil, err
	}
	in := p.input(s, o, req, n, generation)
	op := fmt.Sprintf("create %d of %s (%s)", n, req.Type, o)
	begun := time.Now()
	for try := 1; ; try++ {
		// The SDK would ask again where there is no capacity.
		out, err := client.RunInstances(ctx, in, func(o *ec2.Options) { o.Retryer = aws.NopRetryer{} })
		if err == nil {
			return instances(out), nil
		}
		e := failed(op, err)
		switch {
		case is(err, "InvalidParameterValue") && strings.Contains(err.Error(), "iamInstanceProfile") && time.Since(begun) < profileWait:
		case providers.CauseOf(e) == providers.Transient && try < launchTries:
		case is(err, "IdempotentParameterMismatch") && req.Kind == providers.Head:
			// Another launcher made the head at the same time, or an earlier
			// run did; it may not show yet.
			made, _, lerr := p.existing(ctx, req)
			if lerr == nil && len(made) > 0 {
				return made, nil
			}
			if time.Since(begun) > youngFor {
				return nil, e
			}
		default:
			return nil, e
		}
		if err := sleep(ctx, time.Duration(200<<min(try, 4))*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func instances(out *ec2.RunInstancesOutput) []providers.Instance {
	var made []providers.Instance
	for _, i := range out.Instances {
		made = append(made, instance(i))
	}
	return byID(made)
}

// input is the call for one offering. Its token names the request, so that a
// repeated call makes nothing twice.
func (p *Provider) input(s launchSpec, o providers.Offering, req providers.CreateRequest, n int, generation string) *ec2.RunInstancesInput {
	in := s.input
	in.MinCount, in.MaxCount = aws.Int32(1), aws.Int32(int32(n))
	in.InstanceType = types.InstanceType(o.Type)
	if in.SubnetId = nil; o.Place != "" {
		in.SubnetId = aws.String(o.Place)
	}
	if !o.Spot && in.InstanceMarketOptions != nil && in.InstanceMarketOptions.MarketType == types.MarketTypeSpot {
		in.InstanceMarketOptions = nil
	}
	if in.MetadataOptions == nil { // version 2 only; containers are one hop further
		in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(2)}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%d", p.o.Config.Name, req.Kind, generation, o, n))
	in.ClientToken = aws.String("ray-" + hex.EncodeToString(sum[:28]))
	in.TagSpecifications = p.tags(in.TagSpecifications, req)
	return &in
}

// tags adds the cluster's tags to those of the file, on instances and on their
// disks.
func (p *Provider) tags(given []types.TagSpecification, req providers.CreateRequest) []types.TagSpecification {
	own := map[string]string{
		providers.TagCluster: p.o.Config.Name, providers.TagKind: req.Kind, providers.TagType: req.Type,
		providers.TagRequest: req.Token, "ray-node-status": "uninitialized",
	}
	maps.Copy(own, req.Tags)
	if name, ok := own[providers.TagName]; ok {
		delete(own, providers.TagName)
		own[tagName] = name
	}
	var out []types.TagSpecification
	for _, kind := range []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume} {
		all := maps.Clone(own)
		if kind == types.ResourceTypeVolume {
			all = map[string]string{providers.TagCluster: p.o.Config.Name}
		}
		for _, g := range given {
			if g.ResourceType != kind {
				continue
			}
			for _, t := range g.Tags { // the file's Name is what the user wants to read
				if key := aws.ToString(t.Key); key == tagName || own[key] == "" {
					all[key] = aws.ToString(t.Value)
				}
			}
		}
		spec := types.TagSpecification{ResourceType: kind}
		for _, key := range slices.Sorted(maps.Keys(all)) {
			spec.Tags = append(spec.Tags, types.Tag{Key: aws.String(key), Value: aws.String(all[key])})
		}
		out = append(out, spec)
	}
	for _, g := range given {
		if g.ResourceType != types.ResourceTypeInstance && g.ResourceType != types.ResourceTypeVolume {
			out = append(out, g)
		}
	}
	return out
}
