package testbed

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"ray/internal/testbed/fault"
	"ray/internal/testbed/moto"
)

const (
	cloudAddr   = gateway + ":5000"
	controlAddr = gateway + ":5001"
)

// aws is moto with hosts.
func aws(o Options) (*cloud, error) {
	if o.Moto == "" {
		return nil, errors.New(moto.Missing)
	}
	env := map[string]string{"AWS_ENDPOINT_URL": "http://" + cloudAddr, "AWS_DEFAULT_REGION": "us-west-2"}
	c := &cloud{
		fleet: &fleet{delay: o.BootDelay, env: env, binds: o.Binds, metadata: ec2Metadata, members: map[string]*member{}},
		env: map[string]string{
			"AWS_ACCESS_KEY_ID": "testbed", "AWS_SECRET_ACCESS_KEY": "testbed", "AWS_EC2_METADATA_DISABLED": "true",
			"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		},
		kick: make(chan struct{}, 1),
	}
	for k, v := range env {
		c.env[k] = v
	}
	address, stop, err := moto.Start(o.Moto, o.MotoSettings...)
	if err != nil {
		return nil, err
	}
	c.stop = stop
	front, err := moto.NewFront(address)
	if err != nil {
		return nil, err
	}
	front.Called = func(moto.Call) { c.touched() }
	keys := map[string]string{}
	c.list = func(ctx context.Context) ([]Instance, error) { return ec2Instances(ctx, front, keys) }
	c.spot = func(ctx context.Context, m *member) error { return front.Terminate(ctx, m.Region, m.ID) }
	c.serve = func() error { return serve(cloudAddr, front) }
	c.control = map[string]func(call) (any, error){
		"POST /faults":   func(c call) (any, error) { return addFault(c, &front.Faults) },
		"DELETE /faults": func(call) (any, error) { front.Faults.Clear(); return nil, nil },
		"GET /faults":    func(call) (any, error) { return front.Faults.Met(), nil },
		"GET /calls":     func(call) (any, error) { return front.Calls(), nil },
		"POST /lag": func(c call) (any, error) {
			d, err := time.ParseDuration(c.query("for"))
			front.Lag(d)
			return nil, err
		},
	}
	front.PageSize(o.PageSize)
	return c, nil
}

// ec2Instances are moto's, with the keys of their pairs, which keys remembers.
func ec2Instances(ctx context.Context, front *moto.Front, keys map[string]string) ([]Instance, error) {
	all, err := front.Instances(ctx)
	if err != nil {
		return nil, err
	}
	rules, err := securityGroups(ctx, front, all)
	if err != nil {
		return nil, err
	}
	var out []Instance
	for _, i := range all {
		if i.State == "terminated" || i.State == "shutting-down" {
			continue
		}
		pair := i.Region + "/" + i.Key
		if i.Key != "" && keys[pair] == "" {
			if keys[pair], err = front.PublicKey(ctx, i.Region, i.Key); err != nil {
				return nil, err
			}
		}
		out = append(out, Instance{
			ID: i.ID, Type: i.Type, Zone: i.Zone, Region: i.Region, Market: i.Market, Role: i.ProfileARN[strings.LastIndexByte(i.ProfileARN, '/')+1:],
			Addr: i.Private, Public: i.Public, On: i.State == "running" || i.State == "pending",
			Keys:    map[string]string{User: keys[pair], "ec2-user": keys[pair], "root": keys[pair]},
			Guarded: true, Rules: rulesOf(i.Groups, rules),
		})
	}
	return out, nil
}

// securityGroups gives what each group lets in. A group that is named as a
// source stands for the private addresses of its instances.
func securityGroups(ctx context.Context, front *moto.Front, all []moto.Instance) (map[string][]Rule, error) {
	groups, err := front.SecurityGroups(ctx)
	if err != nil {
		return nil, err
	}
	rules := map[string][]Rule{}
	for _, g := range groups {
		for _, p := range g.Ingress {
			sources := slices.Clone(p.Ranges)
			for _, i := range all {
				if i.Private != "" && slices.ContainsFunc(i.Groups, func(id string) bool { return slices.Contains(p.Groups, id) }) {
					sources = append(sources, i.Private+"/32")
				}
			}
			for _, s := range sources {
				rules[g.ID] = append(rules[g.ID], Rule{Proto: p.Proto, From: p.From, To: p.To, Source: s})
			}
		}
	}
	return rules, nil
}

func rulesOf(groups []string, rules map[string][]Rule) (all []Rule) {
	for _, id := range groups {
		all = append(all, rules[id]...)
	}
	return all
}

// serve answers at an address until the world ends.
func serve(address string, h http.Handler) error {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	go func() { _ = (&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}).Serve(l) }()
	return nil
}

func addFault(c call, list *fault.List) (any, error) {
	var f fault.Fault
	if err := c.body(&f); err != nil {
		return nil, err
	}
	if f.Action == "" || f.Code == "" && !f.Lost && f.Seconds == 0 {
		return nil, errors.New("a fault has an action, and a code, seconds or lost: true")
	}
	list.Add(f)
	return nil, nil
}
