package gcp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	compute "cloud.google.com/go/compute/apiv1"
	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/proto"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
)

// Prepare implements providers.Preparer: it fills what the file leaves open.
func (p *Provider) Prepare(ctx context.Context) (*cluster.Config, error) { return p.fill(ctx, false) }

// Foresee implements providers.Preparer.
func (p *Provider) Foresee(ctx context.Context) (*cluster.Config, error) { return p.fill(ctx, true) }

func (p *Provider) fill(ctx context.Context, look bool) (*cluster.Config, error) {
	c, err := p.connectAPI(ctx)
	if err != nil {
		return nil, err
	}
	s := &setup{Provider: p, look: look, clients: c, doc: p.o.Config.Document(), specs: map[string]launchSpec{}}
	for name, t := range p.o.Config.NodeTypes {
		s.specs[name], _ = parse(t.NodeConfig, "")
	}
	for _, do := range []func(context.Context) error{s.chooseZones, s.machines, s.network, s.account, s.key} {
		if err := do(ctx); err != nil {
			return nil, err
		}
	}
	return p.o.Config.Edit(func(doc map[string]any) { maps.Copy(doc, s.doc) }), nil
}

// Cleanup implements providers.Preparer. Prepare makes nothing that is one
// cluster's alone: keys are in the instances' metadata and go with them, and
// the service account is the project's.
func (p *Provider) Cleanup(context.Context) ([]string, error) { return nil, nil }

// setup is one run of Prepare.
type setup struct {
	*Provider
	look    bool // make nothing
	clients *clients
	doc     map[string]any
	specs   map[string]launchSpec
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

func (s *setup) bad(nodeType, field, why string) error {
	return cluster.Problems{s.o.Config.Problem("available_node_types."+nodeType+".node_config"+field, why)}
}

// chooseZones takes every zone of the region where the file names none.
func (s *setup) chooseZones(ctx context.Context) error {
	if len(s.zones()) > 0 {
		return nil
	}
	client, err := compute.NewZonesRESTClient(ctx, s.clients.options...)
	if err != nil {
		return failed("list zones", err)
	}
	defer func() { _ = client.Close() }()
	var names []string
	ctx, release := within(ctx)
	defer release()
	for zones := client.List(ctx, &computepb.ListZonesRequest{Project: s.project()}); ; {
		z, err := zones.Next()
		if err == iterator.Done {
			break
		}
		if err != nil {
			return failed("list zones", err)
		}
		if lastPart(z.GetRegion()) == s.region() && z.GetStatus() == computepb.Zone_UP.String() {
			names = append(names, z.GetName())
		}
	}
	if len(names) == 0 {
		return cluster.Problems{s.o.Config.Problem("provider.region", fmt.Sprintf("Google Cloud has no region %q, or none of its zones is up", s.region()))}
	}
	slices.Sort(names)
	section(s.doc, "provider")["availability_zone"] = strings.Join(names, ",")
	return nil
}

// firstZone is where things are looked up that are alike in all zones.
func (s *setup) firstZone() string {
	list, _ := section(s.doc, "provider")["availability_zone"].(string)
	zone, _, _ := strings.Cut(strings.ReplaceAll(list, " ", ""), ",")
	return zone
}

// machines asks what the machine types have, for the resources and disks that
// the file leaves out.
func (s *setup) machines(ctx context.Context) error {
	client, err := compute.NewMachineTypesRESTClient(ctx, s.clients.options...)
	if err != nil {
		return failed("look up machine types", err)
	}
	defer func() { _ = client.Close() }()
	for _, name := range s.o.Config.TypeNames() {
		spec := s.specs[name]
		if len(spec.machines) == 0 {
			if spec.template == "" {
				return s.bad(name, "", "machineType is missing")
			}
			continue
		}
		zone := s.firstZone()
		if spec.zone != "" {
			zone = spec.zone
		}
		// The first is what is wanted; nodes report what they really have.
		t, err := client.Get(ctx, &computepb.GetMachineTypeRequest{Project: s.project(), Zone: zone, MachineType: spec.machines[0]})
		if isNotFound(err) {
			return s.bad(name, ".machineType", fmt.Sprintf("zone %s has no machine type %s", zone, spec.machines[0]))
		}
		if err != nil {
			return failed("look up the machine type "+spec.machines[0], err)
		}
		s.fillResources(name, t)
		if err := s.fillDisk(name, t); err != nil {
			return err
		}
	}
	return nil
}

// usable is the share of a machine's memory that is offered to tasks; the
// system and the object store have the rest.
const usable = 0.7

func (s *setup) fillResources(name string, t *computepb.MachineType) {
	found := map[string]any{"CPU": int64(t.GetGuestCpus())}
	if name != s.o.Config.HeadType {
		found["memory"] = int64(float64(int64(t.GetMemoryMb())<<20) * usable)
	}
	var gpus int64
	for _, a := range t.GetAccelerators() {
		gpus += int64(a.GetGuestAcceleratorCount())
	}
	for _, a := range s.specs[name].instance.GetGuestAccelerators() {
		gpus += int64(a.GetAcceleratorCount())
	}
	if gpus > 0 {
		found["GPU"] = gpus
	}
	given := section(s.nodeType(name), "resources")
	for k, v := range found {
		if _, ok := given[k]; !ok {
			given[k] = v
		}
	}
}

// Canonical's images, by what the service calls a family.
const (
	ubuntuImage    = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64"
	ubuntuImageARM = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-arm64"
	bootDisk       = 50 // GB, as upstream's defaults have it
)

// fillDisk gives a boot disk to a node type without disks.
func (s *setup) fillDisk(name string, t *computepb.MachineType) error {
	spec := s.specs[name]
	if len(spec.instance.GetDisks()) > 0 || spec.template != "" {
		return nil
	}
	if len(spec.instance.GetGuestAccelerators()) > 0 || len(t.GetAccelerators()) > 0 {
		return s.bad(name, "", "disks is missing; a machine with GPUs needs an image with their drivers: give disks[0].initializeParams.sourceImage")
	}
	image := ubuntuImage
	if t.GetArchitecture() == computepb.MachineType_ARM64.String() {
		image = ubuntuImageARM
	}
	s.config(name)["disks"] = []any{map[string]any{
		"boot": true, "autoDelete": true, "initializeParams": map[string]any{"sourceImage": image, "diskSizeGb": int64(bootDisk)},
	}}
	return nil
}

// network gives the region's first subnet, with a public address, to node
// types without networkInterfaces.
func (s *setup) network(ctx context.Context) error {
	var open []string
	for _, name := range s.o.Config.TypeNames() {
		if spec := s.specs[name]; len(spec.instance.GetNetworkInterfaces()) == 0 && spec.template == "" {
			open = append(open, name)
		}
	}
	if len(open) == 0 {
		return nil
	}
	client, err := compute.NewSubnetworksRESTClient(ctx, s.clients.options...)
	if err != nil {
		return failed("list subnets", err)
	}
	defer func() { _ = client.Close() }()
	ctx, release := within(ctx)
	defer release()
	subnet, err := client.List(ctx, &computepb.ListSubnetworksRequest{Project: s.project(), Region: s.region(), MaxResults: proto.Uint32(1)}).Next()
	if err == iterator.Done {
		return s.bad(open[0], "", fmt.Sprintf("the region %s has no subnet in project %s: make one, or give networkInterfaces", s.region(), s.project()))
	}
	if err != nil {
		return failed("list subnets", err)
	}
	for _, name := range open {
		s.config(name)["networkInterfaces"] = []any{map[string]any{
			"subnetwork": subnet.GetSelfLink(), "accessConfigs": []any{map[string]any{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}},
		}}
	}
	return nil
}

// key makes sure that there is a key by which machines are reached.
func (s *setup) key(context.Context) error {
	if s.o.Config.Auth.PrivateKey != "" {
		return nil
	}
	path := s.keyFile()
	if s.look && !isFile(path) {
		return providers.ErrUnmade
	}
	if _, err := sshx.EnsureKey(path); err != nil {
		return err
	}
	section(s.doc, "auth")["ssh_private_key"] = path
	return nil
}
