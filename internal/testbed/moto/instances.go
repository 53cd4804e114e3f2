package moto

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Instance is an instance as EC2 describes it.
type Instance struct {
	ID         string `xml:"instanceId"`
	State      string `xml:"instanceState>name"`
	Key        string `xml:"keyName"`
	Type       string `xml:"instanceType"`
	Zone       string `xml:"placement>availabilityZone"`
	Private    string `xml:"privateIpAddress"`
	Public     string `xml:"ipAddress"`
	ProfileARN string `xml:"iamInstanceProfile>arn"`
	Market     string `xml:"instanceLifecycle"`
	// Groups are ids of security groups.
	Groups []string `xml:"groupSet>item>groupId"`
	Tags   []struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	} `xml:"tagSet>item"`
	Region string `xml:"-"`
}

// ask makes a call of EC2 to moto itself, past faults and log.
func (f *Front) ask(ctx context.Context, region, action string, params url.Values, into any) error {
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	maps.Copy(form, params)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.back.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=testbed/20260101/"+region+"/ec2/aws4_request, SignedHeaders=host, Signature=0")
	f.one.Lock()
	defer f.one.Unlock()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", action, resp.Status, body)
	}
	return xml.Unmarshal(body, into)
}

// regions are those that were used.
func (f *Front) regions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.places))
}

// Instances lists what exists, ended ones included, in every region that was used.
func (f *Front) Instances(ctx context.Context) ([]Instance, error) {
	var all []Instance
	for _, region := range f.regions() {
		for token := ""; ; {
			var page struct {
				Instances []Instance `xml:"reservationSet>item>instancesSet>item"`
				Next      string     `xml:"nextToken"`
			}
			params := url.Values{"MaxResults": {"1000"}}
			if token != "" {
				params.Set("NextToken", token)
			}
			if err := f.ask(ctx, region, "DescribeInstances", params, &page); err != nil {
				return nil, err
			}
			for _, i := range page.Instances {
				i.Region = region
				all = append(all, i)
			}
			if token = page.Next; token == "" {
				break
			}
		}
	}
	return all, nil
}

// SecurityGroup is a set of rules for what gets in.
type SecurityGroup struct {
	ID      string       `xml:"groupId"`
	Ingress []Permission `xml:"ipPermissions>item"`
}

// Permission is one rule: a protocol (-1 is every one), ports, and from where.
type Permission struct {
	Proto  string   `xml:"ipProtocol"`
	From   int      `xml:"fromPort"`
	To     int      `xml:"toPort"`
	Ranges []string `xml:"ipRanges>item>cidrIp"`
	Groups []string `xml:"groups>item>groupId"` // ids of groups
}

// SecurityGroups lists those of every region that was used.
func (f *Front) SecurityGroups(ctx context.Context) ([]SecurityGroup, error) {
	var all []SecurityGroup
	for _, region := range f.regions() {
		var page struct {
			Groups []SecurityGroup `xml:"securityGroupInfo>item"`
		}
		if err := f.ask(ctx, region, "DescribeSecurityGroups", url.Values{}, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Groups...)
	}
	return all, nil
}

// PublicKey gives the public half of a key pair as a line of authorized_keys,
// "" if there is no such pair.
func (f *Front) PublicKey(ctx context.Context, region, name string) (string, error) {
	var out struct {
		Keys []string `xml:"keySet>item>publicKey"`
	}
	err := f.ask(ctx, region, "DescribeKeyPairs", url.Values{"KeyName.1": {name}, "IncludePublicKey": {"true"}}, &out)
	if err != nil || len(out.Keys) == 0 {
		return "", err
	}
	return strings.TrimSpace(out.Keys[0]), nil
}

// Terminate ends an instance as EC2 does when it takes a spot one back.
func (f *Front) Terminate(ctx context.Context, region, id string) error {
	var out struct{}
	return f.ask(ctx, region, "TerminateInstances", url.Values{"InstanceId.1": {id}}, &out)
}
