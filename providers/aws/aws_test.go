package aws

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"ray/internal/testbed/fault"
	"ray/providers"
	"ray/providers/providertest"
)

func TestSuite(t *testing.T) {
	account(t)
	dir := t.TempDir()
	providertest.Run(t, providertest.Case{
		HeadType: "head", WorkerType: "cpu",
		New: func(t *testing.T, reopen bool) providers.Provider {
			if !reopen {
				account(t)
			}
			return prepared(t, clusterFile, dir)
		},
	})
}

func TestPrepareFillsIn(t *testing.T) {
	account(t)
	dir := t.TempDir()
	p := prepared(t, clusterFile, dir)
	head, cpu := p.o.Config.NodeTypes["head"], p.o.Config.NodeTypes["cpu"]
	for _, key := range []string{"ImageId", "KeyName", keySubnets, "SecurityGroupIds", "IamInstanceProfile"} {
		if head.NodeConfig[key] == nil {
			t.Errorf("the head's node_config lacks %s: %v", key, head.NodeConfig)
		}
	}
	if cpu.NodeConfig["IamInstanceProfile"] != nil {
		t.Error("the worker has rights that only the head needs")
	}
	if got := head.Resources["CPU"].Float(); got != 2 {
		t.Errorf("head has %v CPUs, want the instance type's 2", got)
	}
	if got := cpu.Resources["CPU"].Float(); got != 1 || cpu.Resources["memory"].Float() < 10e9 {
		t.Errorf("worker resources %v: want the file's CPU and the type's memory", cpu.Resources)
	}
	info, err := os.Stat(p.o.Config.Auth.PrivateKey)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("private key: %v %v", info, err)
	}
	again := prepared(t, clusterFile, dir)
	if !reflect.DeepEqual(again.o.Config.Document(), p.o.Config.Document()) {
		t.Error("preparing again gives another file")
	}
}

func TestNewestImage(t *testing.T) {
	account(t)
	p := prepared(t, clusterFile, t.TempDir())
	client, err := p.ec2(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{Provider: p, ec2: client}
	// The fake knows old releases only.
	id, err := s.newest(t.Context(), canonical, "ubuntu/images/hvm-ssd*/ubuntu-*-amd64-server-*", "x86_64")
	if err != nil || !strings.HasPrefix(id, "ami-") {
		t.Errorf("found %q, %v", id, err)
	}
	if id, err := s.newest(t.Context(), canonical, "ubuntu/images/none-*", "x86_64"); err != nil || id != "" {
		t.Errorf("found %q, %v where there is none", id, err)
	}
}

func TestCleanupRemovesWhatWasMade(t *testing.T) {
	account(t)
	p := prepared(t, clusterFile, t.TempDir())
	gone, err := p.Cleanup(t.Context())
	if err != nil || len(gone) != 4 {
		t.Fatalf("removed %q, %v; want key pair, security group, profile and role", gone, err)
	}
	if gone, err = p.Cleanup(t.Context()); err != nil || len(gone) != 0 {
		t.Errorf("a second time removed %q, %v", gone, err)
	}
	client, err := p.iam(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roles, err := client.ListRoles(t.Context(), &iam.ListRolesInput{})
	if err != nil || len(roles.Roles) != 0 {
		t.Errorf("roles left: %v %v", roles.Roles, err)
	}
}

func TestSSHIsOpenToTheCallerOnly(t *testing.T) {
	account(t)
	p := prepared(t, clusterFile, t.TempDir())
	client, err := p.ec2(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"ray-autoscaler-demo"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out.SecurityGroups[0].IpPermissions {
		for _, c := range r.IpRanges {
			if aws.ToString(c.CidrIp) != "127.0.0.1/32" || aws.ToInt32(r.FromPort) != 22 {
				t.Errorf("port %d is open to %s", aws.ToInt32(r.FromPort), aws.ToString(c.CidrIp))
			}
		}
	}
}

func TestStoppedInstancesLive(t *testing.T) {
	account(t)
	p := prepared(t, clusterFile, t.TempDir())
	made, err := p.Create(t.Context(), providers.CreateRequest{Token: "a", Type: "cpu", Kind: providers.Worker, Count: 1,
		Tags: map[string]string{providers.TagName: "ray-demo-worker"}})
	if err != nil {
		t.Fatal(err)
	}
	if tags := made[0].Tags; tags["owner"] != "me" || tags[providers.TagName] != "ray-demo-worker" || tags["Name"] != "" {
		t.Errorf("tags %v", tags)
	}
	client, _ := p.ec2(t.Context())
	if _, err := client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{made[0].ID}}); err != nil {
		t.Fatal(err)
	}
	list, err := p.List(t.Context())
	if err != nil || len(list) != 1 || !list[0].State.Live() {
		t.Fatalf("a stopped instance is listed as %+v, %v; it costs, so it must be seen", list, err)
	}
	if err := p.Terminate(t.Context(), []string{made[0].ID}); err != nil {
		t.Fatal(err)
	}
}

func TestTwoLaunchersMakeOneHead(t *testing.T) {
	account(t)
	dir := t.TempDir()
	a, b := prepared(t, clusterFile, dir), prepared(t, clusterFile, dir)
	var ids []string
	for n, p := range []*Provider{a, b} {
		made, err := p.Create(t.Context(), providers.CreateRequest{Token: string(rune('a' + n)), Type: "head", Kind: providers.Head, Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, made[0].ID)
	}
	if ids[0] != ids[1] {
		t.Errorf("two heads: %v", ids)
	}
	in := func(p *Provider) string {
		return aws.ToString(p.input(launchSpec{}, providers.Offering{}, providers.CreateRequest{Kind: providers.Head}, 1, providers.Head).ClientToken)
	}
	if in(a) != in(b) || len(in(a)) > 64 {
		t.Errorf("client tokens %q and %q", in(a), in(b))
	}
}

func TestUnknownFieldsAreErrors(t *testing.T) {
	text := strings.Replace(clusterFile, "InstanceType: m5.xlarge", `InstanceTyp: m5.xlarge
      EbsOptimized: "yes"
      InstanceMarketOptions: {MarketType: spott}
      MinCount: 3
      BlockDeviceMappings:
        - Ebs: {VolumeSize: 1.5, VolumeTyp: gp3}`, 1)
	_, err := New(Options{Config: providertest.Parse(t, text)})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`demo.yaml:16:20: available_node_types.cpu.node_config.InstanceTyp: unknown field; did you mean "InstanceType"?`,
		`expected true or false; got the text "yes"`, `did you mean "spot"?`, `MinCount: not for a cluster file`,
		`Ebs.VolumeSize: expected a whole number`, `did you mean "VolumeType"?`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestUnknownInstanceType(t *testing.T) {
	account(t)
	p, err := New(Options{Dir: t.TempDir(), Config: providertest.Parse(t, strings.ReplaceAll(clusterFile, "m5.xlarge", "m5.gigantic"))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "gigantic") {
		t.Errorf("%v", err)
	}
}

func TestWanted(t *testing.T) {
	s, errs := parse(map[string]any{
		keyTypes: []any{"a", "b"}, keySubnets: []any{"s1", "s2"}, keyFallback: true,
		"InstanceMarketOptions": map[string]any{"MarketType": "spot"},
	}, "")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := providers.Wanted{Types: []string{"a", "b"}, Places: []string{"s1", "s2"}, Spot: true, Fallback: true}
	if got := s.wanted(); !reflect.DeepEqual(got, want) {
		t.Errorf("wanted %+v, want %+v", got, want)
	}
}

func TestCauses(t *testing.T) {
	for _, c := range []struct {
		code, message string
		cause         providers.Cause
		hint          string
	}{
		{"InsufficientInstanceCapacity", "", providers.Capacity, "InstanceTypes"},
		{"VcpuLimitExceeded", "", providers.Quota, "quota"},
		{"UnauthorizedOperation", "User: arn is not authorized to perform: ec2:RunInstances on resource x", providers.Auth, "ec2:RunInstances"},
		{"ExpiredToken", "", providers.Auth, "log in again"},
		{"RequestExpired", "Request has expired.", providers.Auth, "clock right?"},
		{"SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z", providers.Auth, "the clock of this machine is wrong"},
		{"RequestLimitExceeded", "", providers.Transient, "again"},
		{"InvalidAMIID.NotFound", "no such image", providers.BadConfig, ""},
	} {
		err := failed("create 1 of cpu", &smithy.GenericAPIError{Code: c.code, Message: c.message})
		if providers.CauseOf(err) != c.cause || !strings.Contains(err.Error(), c.hint) || !strings.Contains(err.Error(), c.code) {
			t.Errorf("%s: %v", c.code, err)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	p, err := New(Options{Config: providertest.Parse(t, clusterFile)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := p.List(ctx); providers.CauseOf(err) != providers.Auth || !strings.Contains(err.Error(), "AWS_PROFILE") {
		t.Errorf("%v", err)
	}
}

// EC2's lists may lag behind what was made: it is there all the same.
func TestListsThatLag(t *testing.T) {
	account(t)
	p := prepared(t, clusterFile, t.TempDir())
	front.Lag(time.Hour)
	defer front.Lag(0)
	made, err := p.Create(t.Context(), providers.CreateRequest{Token: "a", Type: "cpu", Kind: providers.Worker, Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	list, err := p.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Type != "cpu" {
		t.Errorf("listed %+v, %v; want the two that were made", list, err)
	}
	if err := p.Terminate(t.Context(), []string{made[0].ID}); err != nil {
		t.Fatal(err)
	}
	if list, err = p.List(t.Context()); err != nil || len(list) != 1 || list[0].ID != made[1].ID {
		t.Errorf("listed %+v, %v; want the one that was not ended", list, err)
	}
}

// A lost answer makes nothing twice.
func TestLostAnswer(t *testing.T) {
	account(t)
	p := prepared(t, clusterFile, t.TempDir())
	front.Faults.Add(fault.Fault{Action: "RunInstances", Lost: true, Count: 1})
	defer front.Faults.Clear()
	if _, err := p.Create(t.Context(), providers.CreateRequest{Token: "a", Type: "cpu", Kind: providers.Worker, Count: 1}); err != nil {
		t.Fatal(err)
	}
	if all, err := front.Instances(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("made %+v, %v", all, err)
	}
}

// What EC2 could not start again is ended; the rest is stopped.
func TestStopEndsSpotInstances(t *testing.T) {
	account(t)
	p := prepared(t, clusterFile, t.TempDir())
	made, err := p.Create(t.Context(), providers.CreateRequest{Token: "a", Type: "cpu", Kind: providers.Worker, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	nt := p.o.Config.NodeTypes["cpu"]
	nt.NodeConfig["InstanceMarketOptions"] = map[string]any{"MarketType": "spot"}
	p.o.Config.NodeTypes["cpu"] = nt
	spot, err := p.Create(t.Context(), providers.CreateRequest{Token: "b", Type: "cpu", Kind: providers.Worker, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context(), []string{made[0].ID, spot[0].ID}); err != nil {
		t.Fatal(err)
	}
	list, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if want := map[string]providers.State{made[0].ID: providers.Stopped, spot[0].ID: providers.Terminated}[i.ID]; i.State != want {
			t.Errorf("%s is %s, want %s", i.ID, i.State, want)
		}
	}
}
