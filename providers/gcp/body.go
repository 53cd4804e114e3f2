package gcp

import (
	"maps"
	"strings"

	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/protobuf/proto"

	"ray/providers"
)

// Values of an instance's scheduling.
const (
	modelSpot   = "SPOT"
	onTerminate = "TERMINATE"
	onDelete    = "DELETE"
)

func isSpot(i *computepb.Instance) bool {
	return i.GetScheduling().GetPreemptible() || i.GetScheduling().GetProvisioningModel() == modelSpot
}

// body is the instance to insert by one offering.
func (p *Provider) body(s launchSpec, o providers.Offering, req providers.CreateRequest, name, key string) *computepb.Instance {
	i := proto.CloneOf(s.instance)
	i.Name = proto.String(name)
	if o.Type != "" {
		i.MachineType = proto.String("zones/" + o.Place + "/machineTypes/" + o.Type)
	}
	for _, a := range i.GetGuestAccelerators() {
		if short := a.GetAcceleratorType(); !strings.Contains(short, "/") {
			a.AcceleratorType = proto.String("projects/" + p.project() + "/zones/" + o.Place + "/acceleratorTypes/" + short)
		}
	}
	for _, d := range i.GetDisks() {
		if short := d.GetInitializeParams().GetDiskType(); short != "" && !strings.Contains(short, "/") {
			d.InitializeParams.DiskType = proto.String("zones/" + o.Place + "/diskTypes/" + short)
		}
	}
	schedule(i, o)
	i.Labels = p.labels(i.GetLabels(), req)
	i.Metadata = withKey(i.GetMetadata(), p.o.Config.Auth.User, key)
	return i
}

// schedule says when the cloud may take the machine, and what becomes of it.
func schedule(i *computepb.Instance, o providers.Offering) {
	if i.Scheduling == nil {
		i.Scheduling = &computepb.Scheduling{}
	}
	s := i.Scheduling
	if o.Spot {
		// A stopped one would go on costing its disk, and nobody would start it.
		s.ProvisioningModel, s.AutomaticRestart = proto.String(modelSpot), proto.Bool(false)
		if s.InstanceTerminationAction == nil {
			s.InstanceTerminationAction = proto.String(onDelete)
		}
	} else {
		s.ProvisioningModel, s.Preemptible, s.InstanceTerminationAction = nil, nil, nil
	}
	if s.OnHostMaintenance == nil && (o.Spot || len(i.GetGuestAccelerators()) > 0 || hasGPUs(o.Type)) {
		s.OnHostMaintenance = proto.String(onTerminate) // these can't move while they run
	}
}

// hasGPUs tells whether the machine type's family comes with accelerators.
func hasGPUs(machine string) bool {
	family, _, _ := strings.Cut(machine, "-")
	switch family {
	case "a2", "a3", "a4", "a4x", "g2", "g4":
		return true
	}
	return false
}

// labels adds the cluster's tags to those of the file.
func (p *Provider) labels(given map[string]string, req providers.CreateRequest) map[string]string {
	out := maps.Clone(given)
	if out == nil {
		out = map[string]string{}
	}
	own := map[string]string{
		providers.TagCluster: p.o.Config.Name, providers.TagKind: req.Kind, providers.TagType: req.Type,
		providers.TagRequest: req.Token, providers.TagStatus: "uninitialized",
	}
	maps.Copy(own, req.Tags)
	for k, v := range own {
		out[k] = label(v)
	}
	return out
}
