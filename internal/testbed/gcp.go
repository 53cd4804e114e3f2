package testbed

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"ray/internal/testbed/fault"
	"ray/internal/testbed/gce"
)

// Project is the one that the fake Compute Engine has.
const Project = "testbed"

// addresses gives every instance its own, the same whenever it starts.
type addresses struct {
	mu   sync.Mutex
	seen map[string]int
}

func (a *addresses) of(name string) (internal, external string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.seen[name]
	if !ok {
		n = len(a.seen) + 1
		a.seen[name] = n
	}
	return fmt.Sprintf("172.31.%d.%d", n/250, n%250+1), fmt.Sprintf("198.51.%d.%d", 100+n/250, n%250+1)
}

// gcp is the fake Compute Engine with hosts.
func gcp(o Options) (*cloud, error) {
	c := &cloud{
		fleet: &fleet{delay: o.BootDelay, binds: o.Binds, metadata: gceMetadata, members: map[string]*member{}},
		env:   map[string]string{"TESTBED_ENDPOINT": "http://" + cloudAddr, "TESTBED_PROJECT": Project, "TESTBED_REGION": gce.Region},
		kick:  make(chan struct{}, 1), stop: func() {},
	}
	var faults fault.List
	given := addresses{seen: map[string]int{}}
	server := gce.New(gce.Options{
		Project: Project, PageSize: o.PageSize, Latency: o.Latency,
		Boot: func(i gce.Resource) (string, string, error) {
			internal, external := given.of(i.Text("name"))
			return internal, external, nil
		},
		Refuse: func(zone string, i gce.Resource) *gce.Refusal {
			machine := i.Text("machineType")
			f := faults.Take("insert", func(key string) string {
				return map[string]string{"zone": zone, "machineType": machine[strings.LastIndexByte(machine, '/')+1:]}[key]
			})
			if f == nil {
				return nil
			}
			return &gce.Refusal{Code: f.Code, Message: f.Message}
		},
	})
	c.list = func(context.Context) ([]Instance, error) { return gceInstances(server.Instances()), nil }
	c.spot = func(_ context.Context, m *member) error { return server.Preempt(m.ID) }
	c.serve = func() error {
		return serve(cloudAddr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer c.touched()
			callFaults{&faults, server}.ServeHTTP(w, r)
		}))
	}
	c.control = map[string]func(call) (any, error){
		"POST /faults":   func(c call) (any, error) { return addFault(c, &faults) },
		"DELETE /faults": func(call) (any, error) { faults.Clear(); return nil, nil },
		"GET /faults":    func(call) (any, error) { return faults.Met(), nil },
		"GET /calls":     func(call) (any, error) { return server.Calls(), nil },
		"POST /throttle": func(c call) (any, error) {
			n, err := c.number("calls")
			server.Throttle(n)
			return nil, err
		},
	}
	return c, nil
}

func gceInstances(list []gce.Resource) []Instance {
	var out []Instance
	for _, r := range list {
		i := Instance{
			ID: r.Text("name"), Name: r.Text("name"), Type: lastPart(r.Text("machineType")), Zone: lastPart(r.Text("zone")), Region: Project,
			On: r.Text("status") == "RUNNING" || r.Text("status") == "STOPPING", Keys: map[string]string{},
		}
		for _, nic := range parts(r["networkInterfaces"]) {
			i.Addr, _ = nic["networkIP"].(string)
			for _, access := range parts(nic["accessConfigs"]) {
				i.Public, _ = access["natIP"].(string)
			}
		}
		for _, a := range parts(r["serviceAccounts"]) {
			i.Role, _ = a["email"].(string)
		}
		meta, _ := r["metadata"].(map[string]any)
		for _, item := range parts(meta["items"]) {
			if value, _ := item["value"].(string); item["key"] == "ssh-keys" {
				for line := range strings.Lines(value) {
					if user, key, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
						i.Keys[user] += key + "\n"
					}
				}
			}
		}
		if i.Addr != "" {
			out = append(out, i)
		}
	}
	return out
}

func lastPart(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// parts gives the mappings in a JSON list.
func parts(v any) []map[string]any {
	var out []map[string]any
	items, _ := v.([]any)
	for _, each := range items {
		if m, ok := each.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
