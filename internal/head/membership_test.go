package head

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ray/autoscaler"
	"ray/internal/bootstrap"
	clusterfile "ray/internal/cluster"
	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/providers"
	"ray/providers/prices"
)

// fakeScaler takes one machine away, and knows of some groups whether its
// limits exclude them.
type fakeScaler struct {
	leaving string
	groups  map[spec.PlacementGroupID]bool
}

func (f fakeScaler) wake()                              {}
func (f fakeScaler) close()                             {}
func (f fakeScaler) admits(instance string) bool        { return instance != f.leaving }
func (f fakeScaler) explain(spec.Demand) (string, bool) { return "", false }
func (f fakeScaler) explainGroup(id spec.PlacementGroupID) (text string, served, known bool) {
	beyond, known := f.groups[id]
	return "limit reached", !beyond, known
}
func (f fakeScaler) fill(*spec.Status) {}

// TestAdmission refuses nodes on machines that go, and a second node on one
// machine while the first works.
func TestAdmission(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	h.mu.Lock()
	h.scaler = fakeScaler{leaving: "i-1"}
	h.mu.Unlock()
	attempt := func(instance string) (*fakeNode, error) {
		n := dial(t, h)
		return n, n.try(wire.MethodRegister, wire.RegisterRequest{Info: spec.NodeInfo{ID: n.id, Instance: instance, Total: cpus(1)}}, nil)
	}
	if _, err := attempt("i-1"); err == nil || !strings.Contains(err.Error(), "is being taken away") {
		t.Errorf("on a machine that goes: %v", err)
	}
	first, err := attempt("i-2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attempt("i-2"); err == nil || !strings.Contains(err.Error(), "already has a node") {
		t.Errorf("a second node: %v", err)
	}
	if err := first.try(wire.MethodRegister, wire.RegisterRequest{Info: spec.NodeInfo{ID: first.id, Instance: "i-2", Total: cpus(1)}}, nil); err != nil {
		t.Errorf("the same node again: %v", err)
	}
	_ = first.peer.Close()
	eventually(t, "room for another", func() bool {
		_, err := attempt("i-2")
		return err == nil
	})
}

// TestJoinedEvent names what matters of a node's resources.
func TestJoinedEvent(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	total := cpus(2)
	total["special"], total[spec.Memory], total[spec.ObjectStoreMemory], total["node:10.0.0.1"] = spec.FixedScale, 5, 5, 5
	join(t, h, "one", total)
	eventually(t, "the event", func() bool {
		for _, e := range h.coreStatus().Events {
			if strings.Contains(e.Message, "joined ({'CPU': 2.0, 'special': 1.0}).") {
				return true
			}
		}
		return false
	})
}

// TestScalingSpeed passes a speed of nothing on as it is: a few at a time.
func TestScalingSpeed(t *testing.T) {
	f := &bootstrap.Fleet{Config: &clusterfile.Config{UpscalingSpeed: 0}, Provider: launching{}}
	if c := scalingConfig(f, prices.Builtin()); c.UpscalingSpeed != 0 {
		t.Errorf("speed %v", c.UpscalingSpeed)
	}
}

// launching is a provider of which only the traits are asked.
type launching struct{ providers.Provider }

func (launching) Traits() providers.Traits { return providers.Traits{} }

// TestScalingPrices takes the file's budget and prices, and says of a machine
// that the table does not have that its price is not known.
// With disable_launch_config_check no worker is outdated by how it was launched.
func TestScalingIgnoresLaunchChanges(t *testing.T) {
	for option, outdated := range map[string]bool{"": true, ", disable_launch_config_check: false": true, ", disable_launch_config_check: true": false} {
		cfg, err := clusterfile.Parse("x.yaml", []byte("cluster_name: a\nprovider: {type: process"+option+"}\nhead_node_type: h\navailable_node_types: {h: {resources: {CPU: 1}}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		c := scalingConfig(&bootstrap.Fleet{Config: cfg, Provider: launching{}}, prices.Builtin())
		if got := c.NodeTypes["h"].LaunchHash != ""; got != outdated {
			t.Errorf("%q: may be outdated: %v", option, got)
		}
	}
}

func TestScalingPrices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "cluster_name: c\nmax_cost_per_hour: 2.5\nprovider: {type: aws, region: us-west-2}\nauth: {ssh_user: ubuntu}\n" +
		"head_node_type: head\navailable_node_types:\n" +
		"  head: {node_config: {InstanceType: m5.large}}\n" +
		"  own: {node_config: {InstanceType: m5.large}, price_per_hour: 0.7, max_workers: 1}\n" +
		"  odd: {node_config: {InstanceType: zz9.large}, max_workers: 1}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := clusterfile.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	c := scalingConfig(&bootstrap.Fleet{Config: cfg, Provider: launching{}}, prices.Builtin())
	if c.MaxCost == nil || *c.MaxCost != 2.5 {
		t.Errorf("budget %v", c.MaxCost)
	}
	if head := c.NodeTypes["head"]; head.Price <= 0 || head.Unpriced {
		t.Errorf("head %+v", head)
	}
	if own := c.NodeTypes["own"]; own.Price != 0.7 || own.Unpriced {
		t.Errorf("own price %+v", own)
	}
	if !c.NodeTypes["odd"].Unpriced {
		t.Errorf("odd %+v", c.NodeTypes["odd"])
	}
}

// TestScalerDrainMayBeRefused asks, whatever the cause, in a way that a node
// with work refuses.
func TestScalerDrainMayBeRefused(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	n := join(t, h, "one", cpus(1))
	n.peer.Handle(wire.MethodDrain, func(_ context.Context, r *wire.Request) (any, []byte, error) {
		var d spec.Drain
		err := r.Decode(&d)
		return wire.DrainReply{Accepted: !strings.Contains(d.Reason, "IDLE")}, nil, err
	})
	s := &autoscaling{h: h}
	for _, cause := range []autoscaler.Cause{autoscaler.CauseIdle, autoscaler.CauseOutdated, autoscaler.CauseMaxWorkers} {
		if err := s.Drain(t.Context(), autoscaler.Drain{Node: n.id, Reason: string(cause), Deadline: time.Now().Add(time.Minute)}); err == nil || !strings.Contains(err.Error(), "the node stays") {
			t.Errorf("%s: %v", cause, err)
		}
	}
	if err := s.Drain(t.Context(), autoscaler.Drain{Node: n.id, Reason: string(autoscaler.CauseSetup), Busy: true}); err != nil {
		t.Errorf("a busy node that leaves when it is idle: %v", err)
	}
}

// TestHeadThatSlept gives its nodes a new lease instead of a verdict.
func TestHeadThatSlept(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	n := join(t, h, "one", cpus(1))
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now().Add(time.Hour)
	if h.slept(200*time.Millisecond, now) {
		t.Error("an ordinary pause counted as sleep")
	}
	if !h.slept(time.Hour, now) {
		t.Error("an hour did not count as sleep")
	}
	h.checkLeases(now)
	if h.soft[n.id] == nil {
		t.Error("a node was declared dead because the head slept")
	}
}
