package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/internal/cluster"
	"ray/providers"
)

// network chooses subnets for node types without, all of one VPC, and gives
// every type the cluster's security group.
func (s *setup) network(ctx context.Context) error {
	subnets, vpc, err := s.subnets(ctx)
	if err != nil {
		return err
	}
	group := ""
	for _, name := range s.o.Config.TypeNames() {
		in := s.specs[name].input
		if len(in.NetworkInterfaces) > 0 || in.LaunchTemplate != nil {
			continue
		}
		if len(s.specs[name].subnets) == 0 {
			s.config(name)[keySubnets] = anyList(subnets)
		}
		if len(in.SecurityGroupIds) > 0 || len(in.SecurityGroups) > 0 {
			continue
		}
		if group == "" {
			if group, err = s.securityGroup(ctx, vpc); err != nil {
				return err
			}
		}
		s.config(name)["SecurityGroupIds"] = []any{group}
	}
	return nil
}

func anyList(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// subnets gives those that machines may be in, the preferred ones first, and
// their VPC. Subnets and groups that the file names decide the VPC.
func (s *setup) subnets(ctx context.Context) (ids []string, vpc string, err error) {
	var given []string
	for _, spec := range s.specs {
		given = append(given, spec.subnets...)
	}
	slices.Sort(given)
	in := &ec2.DescribeSubnetsInput{SubnetIds: slices.Compact(given)}
	if len(given) == 0 {
		in.Filters = []types.Filter{filter("state", "available")}
	}
	var all []types.Subnet
	pages := ec2.NewDescribeSubnetsPaginator(s.ec2, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, "", failed("look for subnets", err)
		}
		all = append(all, page.Subnets...)
	}
	p := s.o.Config.Provider
	chosen := all
	if len(given) == 0 {
		chosen = choose(all, splitList(p.Text("availability_zone")), p.Bool("use_internal_ips", false))
	}
	if len(chosen) == 0 {
		return nil, "", cluster.Problems{s.o.Config.Problem("provider.availability_zone", fmt.Sprintf(
			"region %s has no subnet that fits (%d exist); make one, name others, or set use_internal_ips: true if none gives public addresses", s.region(), len(all)))}
	}
	for _, n := range chosen {
		ids = append(ids, aws.ToString(n.SubnetId))
	}
	return ids, aws.ToString(chosen[0].VpcId), nil
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// choose keeps the subnets of the zones, in the zones' order, public ones
// unless internal addresses do, and of the first one's VPC.
func choose(all []types.Subnet, zones []string, internal bool) []types.Subnet {
	rank := func(n types.Subnet) int { return slices.Index(zones, aws.ToString(n.AvailabilityZone)) }
	list := slices.DeleteFunc(slices.Clone(all), func(n types.Subnet) bool {
		return !internal && !aws.ToBool(n.MapPublicIpOnLaunch) || len(zones) > 0 && rank(n) < 0
	})
	slices.SortFunc(list, func(a, b types.Subnet) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(aws.ToString(b.AvailabilityZone), aws.ToString(a.AvailabilityZone)),
			cmp.Compare(aws.ToString(a.SubnetId), aws.ToString(b.SubnetId)))
	})
	return slices.DeleteFunc(list, func(n types.Subnet) bool { return aws.ToString(n.VpcId) != aws.ToString(list[0].VpcId) })
}

func (p *Provider) groupName() string {
	if name, _ := p.o.Config.Provider.Section("security_group")["GroupName"].(string); name != "" {
		return name
	}
	return "ray-autoscaler-" + p.o.Config.Name
}

// securityGroup finds or makes the group, and adds the rules that it lacks.
func (s *setup) securityGroup(ctx context.Context, vpc string) (string, error) {
	name := s.groupName()
	id, err := s.findGroup(ctx, vpc, name)
	if err != nil {
		return "", err
	}
	if s.look {
		if id == "" {
			err = providers.ErrUnmade
		}
		return id, err // which rules it has is not part of the file
	}
	if id == "" {
		if id, err = s.makeGroup(ctx, vpc, name); err != nil {
			return "", err
		}
	}
	rules, err := s.rules(ctx, id)
	if err != nil {
		return "", err
	}
	for _, r := range rules { // one by one: one that is there already fails the rest
		_, err := s.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: aws.String(id), IpPermissions: []types.IpPermission{r},
		})
		if err != nil && !is(err, "InvalidPermission.Duplicate") {
			return "", failed("open the security group "+name, err)
		}
	}
	return id, nil
}

// findGroup gives the id of the group of a name, "" if there is none.
func (s *setup) findGroup(ctx context.Context, vpc, name string) (string, error) {
	out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{filter("vpc-id", vpc), filter("group-name", name)},
	})
	if err != nil {
		return "", failed("look for the security group "+name, err)
	}
	if len(out.SecurityGroups) == 0 {
		return "", nil
	}
	return aws.ToString(out.SecurityGroups[0].GroupId), nil
}

// groupTries bounds looking for a group that is there and does not show yet.
const groupTries = 10

func (s *setup) makeGroup(ctx context.Context, vpc, name string) (string, error) {
	made, err := s.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(name), VpcId: aws.String(vpc), Description: aws.String("Nodes of Ray cluster " + s.o.Config.Name),
		TagSpecifications: s.ownTags(types.ResourceTypeSecurityGroup),
	})
	if err == nil {
		return aws.ToString(made.GroupId), nil
	}
	for try := 0; is(err, "InvalidGroup.Duplicate") && try < groupTries; try++ { // another launcher was faster
		id, ferr := s.findGroup(ctx, vpc, name)
		if id != "" || ferr != nil {
			return id, ferr
		}
		if err := sleep(ctx, time.Second); err != nil {
			return "", err
		}
	}
	return "", failed("make the security group "+name, err)
}

// rules are all traffic within the group, SSH from where the launcher runs,
// and the file's own.
func (s *setup) rules(ctx context.Context, id string) ([]types.IpPermission, error) {
	rules := []types.IpPermission{{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String(id)}}}}
	given, _ := s.o.Config.Provider.Section("security_group")["IpPermissions"].([]any)
	own, errs := permissions(given)
	if len(errs) > 0 {
		return nil, cluster.Problems{s.o.Config.Problem(errs[0].Path, errs[0].Message)}
	}
	for _, r := range own {
		if from := aws.ToInt32(r.FromPort); from <= 22 && aws.ToInt32(r.ToPort) >= 22 || aws.ToString(r.IpProtocol) == "-1" {
			return append(rules, own...), nil // the file says who may use SSH
		}
	}
	ask := s.o.CallerIP
	if ask == nil {
		ask = callerIP
	}
	ip, err := ask(ctx)
	if err != nil {
		return nil, &providers.Error{Cause: providers.Transient, Op: "find this machine's address, to which SSH is opened", Err: err,
			Hint: "say who may connect in provider.security_group.IpPermissions"}
	}
	rules = append(rules, types.IpPermission{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
		IpRanges: []types.IpRange{{CidrIp: aws.String(ip + "/32"), Description: aws.String("SSH from the launcher")}},
	})
	return append(rules, own...), nil
}

// callerIP is this machine's address as AWS sees it. Where the SDK is pointed
// at an endpoint of one's own, it is the address that reaches that.
func callerIP(ctx context.Context) (string, error) {
	for _, key := range []string{"AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"} {
		if u, err := url.Parse(os.Getenv(key)); err == nil && u.Host != "" {
			port := cmp.Or(u.Port(), "443")
			conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", net.JoinHostPort(u.Hostname(), port))
			if err != nil {
				return "", err
			}
			defer conn.Close()
			ip, _, err := net.SplitHostPort(conn.LocalAddr().String())
			return ip, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://checkip.amazonaws.com", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	if err != nil {
		return "", err
	}
	ip := strings.TrimSpace(string(data))
	if net.ParseIP(ip).To4() == nil {
		return "", errors.New("checkip.amazonaws.com gave no IPv4 address")
	}
	return ip, nil
}
