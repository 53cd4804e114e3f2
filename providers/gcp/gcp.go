package gcp

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	compute "cloud.google.com/go/compute/apiv1"
	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/protobuf/proto"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
)

// Options describes the cluster whose instances these are.
type Options struct {
	Dir    string // keeps the private key and the pinned host keys
	Config *cluster.Config
	// Dial connects to an instance; nil is SSH.
	Dial func(providers.Instance) sshx.Host
}

// Provider implements providers.Provider and providers.Preparer.
type Provider struct {
	o Options

	mu      sync.Mutex
	clients *clients // once the first call needed them
	offers  providers.Offers
	seen    map[string]providers.Instance // what the last list had
	ended   map[string]providers.Instance // what it had and the next had not
}

var (
	_ providers.Provider = (*Provider)(nil)
	_ providers.Preparer = (*Provider)(nil)
)

// clients speak with the services.
type clients struct {
	instances  *compute.InstancesClient
	operations *compute.ZoneOperationsClient
	options    []option.ClientOption
}

// New gives the provider; no call is made yet. Mistakes in the cluster file
// are reported all at once, as cluster.Problems.
func New(o Options) (*Provider, error) {
	if err := check(o.Config, true); err != nil {
		return nil, err
	}
	return &Provider{
		o: o, seen: map[string]providers.Instance{}, ended: map[string]providers.Instance{},
	}, nil
}

// Traits implements providers.Provider.
func (p *Provider) Traits() providers.Traits { return providers.Traits{} }

func (p *Provider) project() string { return p.o.Config.Provider.Text("project_id") }
func (p *Provider) region() string  { return p.o.Config.Provider.Text("region") }

// zones are those that the file allows, in the order in which they are tried.
func (p *Provider) zones() []string {
	return strings.FieldsFunc(p.o.Config.Provider.Text("availability_zone"), func(r rune) bool { return r == ',' || r == ' ' })
}

// connectAPI makes the clients, with the credentials of the file, the
// environment or the machine.
func (p *Provider) connectAPI(ctx context.Context) (*clients, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients != nil {
		return p.clients, nil
	}
	// The clients outlive the call that makes them.
	ctx = context.WithoutCancel(ctx)
	options, err := clientOptions(ctx, p.o.Config.Provider)
	if err != nil {
		return nil, err
	}
	c := &clients{options: options}
	if c.instances, err = compute.NewInstancesRESTClient(ctx, options...); err != nil {
		return nil, failed("log in to Google Cloud", err)
	}
	if c.operations, err = compute.NewZoneOperationsRESTClient(ctx, options...); err != nil {
		return nil, failed("log in to Google Cloud", err)
	}
	p.clients = c
	return c, nil
}

// List implements providers.Provider.
func (p *Provider) List(ctx context.Context) ([]providers.Instance, error) {
	live, err := p.live(ctx)
	if err != nil {
		return nil, err
	}
	out := p.withEnded(live, p.preempted(ctx, live), time.Now())
	slices.SortFunc(out, func(a, b providers.Instance) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// machine is an instance and what the service's own calls need of it.
type machine struct {
	providers.Instance
	zone        string
	metadata    *computepb.Metadata
	fingerprint string // of its labels
	scratch     bool   // it has local disks, which a stop empties
}

// live asks the service what it has, in all zones.
func (p *Provider) live(ctx context.Context) (map[string]machine, error) {
	c, err := p.connectAPI(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]machine{}
	ctx, release := within(ctx)
	defer release()
	pages := c.instances.AggregatedList(ctx, &computepb.AggregatedListInstancesRequest{
		Project: p.project(), Filter: proto.String("labels." + providers.TagCluster + " = " + p.o.Config.Name),
	})
	for {
		pair, err := pages.Next()
		if err == iterator.Done {
			return out, nil
		}
		if err != nil {
			return nil, failed("list instances", err)
		}
		for _, i := range pair.Value.GetInstances() {
			scratch := slices.ContainsFunc(i.GetDisks(), func(d *computepb.AttachedDisk) bool { return d.GetType() == "SCRATCH" })
			out[i.GetName()] = machine{instance(i), lastPart(i.GetZone()), i.GetMetadata(), i.GetLabelFingerprint(), scratch}
		}
	}
}

// instance reads what the service says of a machine.
func instance(i *computepb.Instance) providers.Instance {
	out := providers.Instance{ID: i.GetName(), Tags: i.GetLabels(), State: providers.Pending}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	out.Kind, out.Type = out.Tags[providers.TagKind], out.Tags[providers.TagType]
	out.Created, _ = time.Parse(time.RFC3339Nano, i.GetCreationTimestamp())
	for _, nic := range i.GetNetworkInterfaces() {
		out.IP = cmp.Or(out.IP, nic.GetNetworkIP())
		for _, access := range nic.GetAccessConfigs() {
			out.ExternalIP = cmp.Or(out.ExternalIP, access.GetNatIP())
		}
	}
	switch computepb.Instance_Status(computepb.Instance_Status_value[i.GetStatus()]) {
	case computepb.Instance_RUNNING, computepb.Instance_REPAIRING:
		out.State = providers.Running
	case computepb.Instance_TERMINATED, computepb.Instance_STOPPED:
		out.State, out.Reason = providers.Stopped, i.GetStatusMessage() // a deleted one is not listed
	case computepb.Instance_STOPPING, computepb.Instance_SUSPENDING, computepb.Instance_SUSPENDED, computepb.Instance_PENDING_STOP:
		// Its disks cost, and down must see it.
		out.State, out.Reason = providers.Stopping, i.GetStatusMessage()
	}
	return out
}

// endedFor is how long an instance that is gone is still listed.
const endedFor = 15 * time.Minute

// withEnded adds to the list what this process has seen and is gone: the
// service forgets a deleted instance at once.
func (p *Provider) withEnded(live map[string]machine, reasons map[string]string, now time.Time) []providers.Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, i := range p.seen {
		if _, ok := live[id]; !ok {
			i.State, i.Ended, i.Reason = providers.Terminated, now, reasons[id]
			p.ended[id] = i
		}
	}
	p.seen = map[string]providers.Instance{}
	var out []providers.Instance
	for id, m := range live {
		p.seen[id] = m.Instance
		delete(p.ended, id)
		out = append(out, m.Instance)
	}
	for id, i := range p.ended {
		if now.Sub(i.Ended) > endedFor {
			delete(p.ended, id)
			continue
		}
		out = append(out, i)
	}
	return out
}

// preempted asks, if something is gone that was there, whether the cloud took
// it back. Not knowing is no reason to fail.
func (p *Provider) preempted(ctx context.Context, live map[string]machine) map[string]string {
	p.mu.Lock()
	gone := false
	for id := range p.seen {
		_, ok := live[id]
		gone = gone || !ok
	}
	p.mu.Unlock()
	reasons := map[string]string{}
	if !gone {
		return reasons
	}
	c, err := p.connectAPI(ctx)
	if err != nil {
		return reasons
	}
	ctx, release := within(ctx)
	defer release()
	for _, zone := range p.zones() {
		ops := c.operations.List(ctx, &computepb.ListZoneOperationsRequest{
			Project: p.project(), Zone: zone, Filter: proto.String("operationType = compute.instances.preempted"),
		})
		for {
			op, err := ops.Next()
			if err != nil {
				break
			}
			reasons[lastPart(op.GetTargetLink())] = "preempted: the cloud took the spot instance back"
		}
	}
	return reasons
}

// lastPart is the name at the end of a resource's URL.
func lastPart(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// Terminate implements providers.Provider.
func (p *Provider) Terminate(ctx context.Context, ids []string) error {
	return p.eachLive(ctx, ids, "delete", func(c *clients, m machine) error {
		_, err := c.instances.Delete(ctx, &computepb.DeleteInstanceRequest{Project: p.project(), Zone: m.zone, Instance: m.ID})
		return err
	})
}

// eachLive does something to those of the instances that exist. One that is
// gone meanwhile is no error.
func (p *Provider) eachLive(ctx context.Context, ids []string, what string, do func(*clients, machine) error) error {
	if len(ids) == 0 {
		return nil
	}
	live, err := p.live(ctx)
	if err != nil {
		return err
	}
	c, err := p.connectAPI(ctx)
	if err != nil {
		return err
	}
	return each(ids, func(_ int, id string) error {
		m, ok := live[id]
		if !ok {
			return nil
		}
		err := do(c, m)
		if isNotFound(err) {
			err = nil
		}
		return failed(what+" "+id, err)
	})
}

// atOnce is how many calls are in flight: the service counts calls per second.
const atOnce = 10

// each calls do for every item, several at a time, and gives the first error.
func each[T any](items []T, do func(at int, item T) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(items))
	slots := make(chan struct{}, atOnce)
	for at, item := range items {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[at] = do(at, item)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Host implements providers.Provider.
func (p *Provider) Host(ctx context.Context, id string) (sshx.Host, error) {
	look := func(ctx context.Context, id string) (providers.Instance, error) {
		live, err := p.live(ctx)
		if err != nil {
			return providers.Instance{}, err
		}
		m, ok := live[id]
		if !ok {
			return m.Instance, fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
		}
		if p.o.Dial != nil {
			return m.Instance, nil
		}
		return m.Instance, p.admit(ctx, m)
	}
	return providers.Reacher{
		Dir: p.o.Dir, Config: p.o.Config, Dial: p.o.Dial, Look: look,
		NoAddress: "give its networkInterfaces an accessConfigs entry of type ONE_TO_ONE_NAT",
	}.Host(ctx, id)
}
