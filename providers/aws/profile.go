package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"ray/providers"
)

// sharedProfile is the instance profile that upstream makes once per account.
// Where it exists it is used, so that nobody needs the right to make another.
const sharedProfile = "ray-autoscaler-v1"

// profileName names the profile and the role of this cluster; IAM's names are
// at most 64 characters long, and not of one region.
func (p *Provider) profileName() string {
	name := "ray-autoscaler-" + p.o.Config.Name + "-" + p.region()
	if len(name) > 64 {
		sum := sha256.Sum256([]byte(name))
		name = name[:55] + "-" + hex.EncodeToString(sum[:4])
	}
	return name
}

func (p *Provider) iam(ctx context.Context) (*iam.Client, error) {
	c, err := p.aws(ctx)
	if err != nil {
		return nil, err
	}
	return iam.NewFromConfig(c), nil
}

// profile gives the head the right to launch and end this cluster's workers,
// unless the file gives it a profile.
func (s *setup) profile(ctx context.Context) error {
	head := s.o.Config.HeadType
	if s.specs[head].input.IamInstanceProfile != nil {
		return nil
	}
	client, err := s.iam(ctx)
	if err != nil {
		return err
	}
	arn, ready, err := findProfile(ctx, client, sharedProfile)
	if err != nil {
		return err
	}
	if !ready {
		name := s.profileName()
		if !s.look {
			err = makeProfile(ctx, client, name, s.o.Config.Name)
		} else if _, ready, err = findProfile(ctx, client, name); err == nil && !ready {
			err = providers.ErrUnmade
		}
		if err != nil {
			return err
		}
		if arn, _, err = findProfile(ctx, client, name); err != nil {
			return err
		}
	}
	// By ARN, as upstream has it: the launch hash covers it.
	s.config(head)["IamInstanceProfile"] = map[string]any{"Arn": arn}
	return nil
}

// findProfile gives the profile's ARN, "" if there is none, and whether it is
// ready: it has a role.
func findProfile(ctx context.Context, client *iam.Client, name string) (arn string, ready bool, err error) {
	out, err := client.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(name)})
	if is(err, "NoSuchEntity") {
		return "", false, nil
	}
	if err != nil {
		return "", false, failed("look for the instance profile "+name, err)
	}
	return aws.ToString(out.InstanceProfile.Arn), len(out.InstanceProfile.Roles) > 0, nil
}

// makeProfile makes role, policy and profile; each step does nothing if it was
// done before.
func makeProfile(ctx context.Context, client *iam.Client, name, cluster string) error {
	tags := []iamtypes.Tag{{Key: aws.String(providers.TagCluster), Value: aws.String(cluster)}}
	trust := document(map[string]any{
		"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"Service": "ec2.amazonaws.com"},
	})
	steps := []struct {
		op   string
		do   func() error
		done string // the code that says: it is so already
	}{
		{"make the role", func() error {
			_, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust, Tags: tags})
			return err
		}, "EntityAlreadyExists"},
		{"give rights to the role", func() error {
			_, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String(policyName), PolicyDocument: aws.String(policy(cluster))})
			return err
		}, ""},
		{"make the instance profile", func() error {
			_, err := client.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Tags: tags})
			return err
		}, "EntityAlreadyExists"},
		{"put the role into the instance profile", func() error {
			if _, ready, err := findProfile(ctx, client, name); ready || err != nil {
				return err
			}
			_, err := client.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
			return err
		}, "LimitExceeded"},
	}
	for _, step := range steps {
		if err := step.do(); err != nil && (step.done == "" || !is(err, step.done)) {
			return failed(step.op+" "+name, err)
		}
	}
	return nil
}

const policyName = "workers"

func document(statements ...any) string {
	data, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		panic(err) // texts and maps only
	}
	return string(data)
}

// policy lets a head look, launch machines, and end those of its cluster.
func policy(cluster string) string {
	return document(
		map[string]any{"Effect": "Allow", "Resource": "*", "Action": []string{"ec2:Describe*", "ec2:RunInstances"}},
		map[string]any{"Effect": "Allow", "Resource": "*", "Action": "ec2:CreateTags",
			"Condition": map[string]any{"StringEquals": map[string]string{"ec2:CreateAction": "RunInstances"}}},
		map[string]any{"Effect": "Allow", "Resource": "*", "Action": []string{"ec2:TerminateInstances", "ec2:StopInstances", "ec2:StartInstances", "ec2:CreateTags"},
			"Condition": map[string]any{"StringEquals": map[string]string{"ec2:ResourceTag/" + providers.TagCluster: cluster}}},
		map[string]any{"Effect": "Allow", "Resource": "*", "Action": "iam:PassRole",
			"Condition": map[string]any{"StringEquals": map[string]string{"iam:PassedToService": "ec2.amazonaws.com"}}},
	)
}

// groupWait is how long a security group may be in use by machines that end.
const groupWait = 5 * time.Minute

// Cleanup implements providers.Preparer: it removes the key pairs, security
// groups, role and instance profile that carry the cluster's tag.
func (p *Provider) Cleanup(ctx context.Context) ([]string, error) {
	client, err := p.ec2(ctx)
	if err != nil {
		return nil, err
	}
	var gone []string
	byTag := []types.Filter{filter("tag:"+providers.TagCluster, p.o.Config.Name)}
	keys, err := client.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: byTag})
	if err != nil {
		return nil, failed("look for key pairs", err)
	}
	for _, k := range keys.KeyPairs {
		if _, err := client.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: k.KeyName}); err != nil {
			return gone, failed("remove the key pair "+aws.ToString(k.KeyName), err)
		}
		gone = append(gone, "key pair "+aws.ToString(k.KeyName))
	}
	groups, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: byTag})
	if err != nil {
		return gone, failed("look for security groups", err)
	}
	for _, g := range groups.SecurityGroups {
		if err := removeGroup(ctx, client, aws.ToString(g.GroupId)); err != nil {
			return gone, err
		}
		gone = append(gone, "security group "+aws.ToString(g.GroupName))
	}
	profile, err := p.removeProfile(ctx)
	return append(gone, profile...), err
}

func removeGroup(ctx context.Context, client *ec2.Client, id string) error {
	for begun := time.Now(); ; {
		_, err := client.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(id)})
		switch {
		case err == nil || is(err, "InvalidGroup.NotFound"):
			return nil
		case !is(err, "DependencyViolation", "InvalidGroup.InUse") || time.Since(begun) > groupWait:
			return failed("remove the security group "+id, err)
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return fmt.Errorf("the security group %s is still in use: %w", id, err)
		}
	}
}

func (p *Provider) removeProfile(ctx context.Context) ([]string, error) {
	client, err := p.iam(ctx)
	if err != nil {
		return nil, err
	}
	name := aws.String(p.profileName())
	var gone []string
	var errs []error
	note := func(what string, err error) {
		switch {
		case err == nil && what != "":
			gone = append(gone, what+" "+*name)
		case err != nil && !is(err, "NoSuchEntity"):
			errs = append(errs, failed("remove what "+*name+" is", err))
		}
	}
	_, err = client.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: name})
	note("", err)
	_, err = client.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
	note("instance profile", err)
	_, err = client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String(policyName)})
	note("", err)
	_, err = client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
	note("role", err)
	return gone, errors.Join(errs...)
}
