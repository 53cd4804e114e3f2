package aws

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/logging"

	"ray/internal/cluster"
	"ray/internal/sshx"
	"ray/providers"
)

// Options describes the cluster whose instances these are.
type Options struct {
	Dir    string // keeps the private key and the pinned host keys
	Config *cluster.Config
	// CallerIP gives the address from which instances are reached over SSH, as
	// they see it; nil asks the usual service of AWS.
	CallerIP func(context.Context) (string, error)
	// Dial connects to an instance; nil is SSH.
	Dial func(providers.Instance) sshx.Host
}

// Provider implements providers.Provider and providers.Preparer.
type Provider struct {
	o Options

	mu     sync.Mutex
	loaded *aws.Config        // once the first call needed it
	young  map[string]newborn // made by this value and not listed yet

	offers providers.Offers
}

var (
	_ providers.Provider = (*Provider)(nil)
	_ providers.Preparer = (*Provider)(nil)
)

// maxAttempts bounds how often a call that was throttled is made.
const maxAttempts = 8

// New gives the provider; no call is made yet. Mistakes in node_configs are
// reported all at once, as cluster.Problems.
func New(o Options) (*Provider, error) {
	if err := Check(o.Config); err != nil {
		return nil, err
	}
	return &Provider{o: o}, nil
}

// Check finds what is wrong with the node_configs of the cluster file.
func Check(cfg *cluster.Config) error {
	var all cluster.Problems
	for _, name := range cfg.TypeNames() {
		_, errs := parse(cfg.NodeTypes[name].NodeConfig, "available_node_types."+name+".node_config")
		for _, e := range errs {
			all = append(all, cfg.Problem(e.Path, e.Message))
		}
	}
	if len(all) > 0 {
		return all
	}
	return nil
}

// Traits implements providers.Provider.
func (p *Provider) Traits() providers.Traits { return providers.Traits{} }

func (p *Provider) region() string { return p.o.Config.Provider.Text("region") }

// aws loads the SDK's configuration: the user's profile, environment or the
// machine's role.
func (p *Provider) aws(ctx context.Context) (aws.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded != nil {
		return *p.loaded, nil
	}
	options := []func(*config.LoadOptions) error{
		config.WithRegion(p.region()), config.WithLogger(logging.Nop{}),
		config.WithRetryer(func() aws.Retryer {
			return retry.AddWithMaxAttempts(retry.NewStandard(), maxAttempts)
		}),
	}
	own := p.o.Config.Provider.Section("aws_credentials")
	if id, _ := own["aws_access_key_id"].(string); id != "" {
		secret, _ := own["aws_secret_access_key"].(string)
		token, _ := own["aws_session_token"].(string)
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(id, secret, token)))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return c, failed("load the AWS configuration", err)
	}
	p.loaded = &c
	return c, nil
}

func (p *Provider) ec2(ctx context.Context) (*ec2.Client, error) {
	c, err := p.aws(ctx)
	if err != nil {
		return nil, err
	}
	return ec2.NewFromConfig(c), nil
}

// tagName is where EC2 keeps what other clouds call ray-node-name.
const tagName = "Name"

// List implements providers.Provider.
func (p *Provider) List(ctx context.Context) ([]providers.Instance, error) {
	list, err := p.list(ctx, filter("tag:"+providers.TagCluster, p.o.Config.Name))
	if err != nil {
		return nil, err
	}
	list = p.withYoung(list, time.Now())
	slices.SortFunc(list, func(a, b providers.Instance) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

func (p *Provider) list(ctx context.Context, filters ...types.Filter) ([]providers.Instance, error) {
	client, err := p.ec2(ctx)
	if err != nil {
		return nil, err
	}
	var out []providers.Instance
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("list instances", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				out = append(out, instance(i))
			}
		}
	}
	return out, nil
}

// reEnded finds the time in "User initiated (2026-01-02 15:04:05 GMT)".
var reEnded = regexp.MustCompile(`\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) `)

func instance(i types.Instance) providers.Instance {
	out := providers.Instance{
		ID: aws.ToString(i.InstanceId), IP: aws.ToString(i.PrivateIpAddress), ExternalIP: aws.ToString(i.PublicIpAddress),
		Created: aws.ToTime(i.LaunchTime), Tags: map[string]string{}, State: providers.Pending,
	}
	for _, t := range i.Tags {
		key := aws.ToString(t.Key)
		if key == tagName {
			key = providers.TagName
		}
		out.Tags[key] = aws.ToString(t.Value)
	}
	out.Kind, out.Type = out.Tags[providers.TagKind], out.Tags[providers.TagType]
	if i.State == nil {
		return out
	}
	switch i.State.Name {
	case types.InstanceStateNameRunning:
		out.State = providers.Running
	case types.InstanceStateNameStopping, types.InstanceStateNameStopped:
		out.State = providers.Stopped // what ends for good shuts down instead
	case types.InstanceStateNameShuttingDown, types.InstanceStateNameTerminated:
		// What shuts down costs nothing any more and cannot come back.
		out.State, out.Ended = providers.Terminated, time.Now()
		if m := reEnded.FindStringSubmatch(aws.ToString(i.StateTransitionReason)); m != nil {
			if t, err := time.Parse(time.DateTime, m[1]); err == nil {
				out.Ended = t
			}
		}
		if i.StateReason != nil {
			out.Reason = aws.ToString(i.StateReason.Message)
		}
	}
	return out
}

// chunk is how many instances one call may end.
const chunk = 1000

// Terminate implements providers.Provider.
func (p *Provider) Terminate(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	client, err := p.ec2(ctx)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(ids, chunk) {
		err := p.terminate(ctx, client, part)
		if is(err, "InvalidInstanceID*") && len(part) > 1 {
			// One unknown id fails them all: ask one by one.
			for _, id := range part {
				if err := p.Terminate(ctx, []string{id}); err != nil {
					return err
				}
			}
			continue
		}
		if err != nil && !is(err, "InvalidInstanceID*") {
			return failed(fmt.Sprintf("end %d instances", len(part)), err)
		}
		p.forget(part)
	}
	return nil
}

// terminate asks again while EC2 does not know yet what it has just made.
func (p *Provider) terminate(ctx context.Context, client *ec2.Client, ids []string) error {
	for {
		_, err := client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
		if !is(err, "InvalidInstanceID.NotFound") || len(ids) > 1 || !p.isYoung(ids[0], time.Now()) {
			return err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// Host implements providers.Provider.
func (p *Provider) Host(ctx context.Context, id string) (sshx.Host, error) {
	look := func(ctx context.Context, id string) (providers.Instance, error) {
		list, err := p.List(ctx)
		if err != nil {
			return providers.Instance{}, err
		}
		at := slices.IndexFunc(list, func(i providers.Instance) bool { return i.ID == id && i.State.Live() })
		if at < 0 {
			return providers.Instance{}, fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
		}
		return list[at], nil
	}
	return providers.Reacher{
		Dir: p.o.Dir, Config: p.o.Config, Dial: p.o.Dial, Look: look, NoAddress: "use a subnet that gives public addresses",
	}.Host(ctx, id)
}

// sleep waits unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
