package head

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// startHead runs a head without ports; it and its goroutines are gone when
// the test ends.
func startHead(t *testing.T, store gcs.Store, cfg Config) *Head {
	t.Helper()
	if cfg.SessionDir == "" {
		cfg.SessionDir = t.TempDir()
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	before := runtime.NumGoroutine()
	h, err := newHead(context.Background(), cfg, store)
	if err != nil {
		t.Fatal(err)
	}
	h.start()
	t.Cleanup(func() {
		h.close()
		eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
	return h
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("not within 10 s: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// fakeNode is the node's side of a session, over a pipe.
type fakeNode struct {
	t    *testing.T
	id   spec.NodeID
	peer *wire.Peer

	mu    sync.Mutex
	notes map[string][]json.RawMessage
	deny  map[string]bool // methods to refuse
}

func dial(t *testing.T, h *Head) *fakeNode {
	t.Helper()
	a, b := net.Pipe()
	h.Accept(wire.NewConnLink(a, 0))
	n := &fakeNode{t: t, id: spec.NewNodeID(), notes: map[string][]json.RawMessage{}, deny: map[string]bool{}}
	n.peer = wire.NewPeer(wire.NewConnLink(b, 0), wire.PeerOptions{})
	n.peer.HandleRest(func(_ context.Context, r *wire.Request) (any, []byte, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.notes[r.Method] = append(n.notes[r.Method], r.JSON)
		if n.deny[r.Method] {
			return nil, nil, errors.New("denied")
		}
		return map[string]any{}, nil, nil
	})
	n.peer.Start()
	t.Cleanup(func() { _ = n.peer.Close() })
	return n
}

func join(t *testing.T, h *Head, name string, total spec.Resources) *fakeNode {
	t.Helper()
	n := dial(t, h)
	n.register(wire.RegisterRequest{Info: spec.NodeInfo{ID: n.id, Name: name, IP: "127.0.0.1", Total: total, Pythons: []string{"3.11"}}})
	return n
}

// full is a heartbeat that tells all.
func full(h wire.Heartbeat) wire.HeartbeatDelta { return h.Since(nil, 1) }

func (n *fakeNode) refuse(method string, deny bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deny[method] = deny
}

func (n *fakeNode) register(req wire.RegisterRequest) wire.RegisterReply {
	n.t.Helper()
	var reply wire.RegisterReply
	n.call(wire.MethodRegister, req, &reply)
	return reply
}

func (n *fakeNode) try(method string, in, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := n.peer.Call(ctx, method, in, out, nil)
	return err
}

func (n *fakeNode) call(method string, in, out any) {
	n.t.Helper()
	if err := n.try(method, in, out); err != nil {
		n.t.Fatal(err)
	}
}

func (n *fakeNode) note(method string, in any) {
	n.t.Helper()
	if err := n.peer.Notify(method, in, nil); err != nil {
		n.t.Fatal(err)
	}
}

func (n *fakeNode) got(method string) []json.RawMessage {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]json.RawMessage(nil), n.notes[method]...)
}

// await gives the i-th note or call of a method that the head sent.
func await[T any](n *fakeNode, method string, i int) (v T) {
	n.t.Helper()
	eventually(n.t, method, func() bool { return len(n.got(method)) > i })
	if err := json.Unmarshal(n.got(method)[i], &v); err != nil {
		n.t.Fatal(err)
	}
	return v
}

func cpus(n float64) spec.Resources { return spec.FromFloats(map[string]float64{"CPU": n}) }

// TestHandleBeforeItsActor: a handle may reach a node before the head hears of
// the actor from its owner.
func TestHandleBeforeItsActor(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	owner, other := join(t, h, "owner", cpus(1)), join(t, h, "other", cpus(1))
	id := actorID(1, spec.JobIDFromInt(1))
	asked := make(chan error, 1)
	var info spec.ActorInfo
	go func() { asked <- other.try(wire.MethodActorWatch, wire.ActorRef{ActorID: id}, &info) }()
	eventually(t, "the question waits", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.unborn) == 1
	})
	owner.call(wire.MethodActorCreate, wire.ActorCreate{Info: spec.ActorInfo{ID: id, JobID: spec.JobIDFromInt(1), State: spec.ActorPending}, Placement: cpus(1)}, nil)
	if err := <-asked; err != nil || info.ID != id {
		t.Fatalf("%+v, %v", info, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.unborn) != 0 {
		t.Error("the question is not forgotten")
	}
}

func actorID(n byte, job spec.JobID) (id spec.ActorID) {
	id[0] = n
	copy(id[12:], job[:])
	return id
}

func TestRegisterAndTables(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	n := dial(t, h)
	if err := n.try("kv.get", map[string]string{"ns": "a", "key": "k"}, nil); err == nil || !strings.Contains(err.Error(), "has not registered") {
		t.Fatalf("a stranger's call: %v", err)
	}
	reply := n.register(wire.RegisterRequest{Info: spec.NodeInfo{ID: n.id, Total: cpus(4)}})
	if reply.ClusterID == "" || reply.Block.Count == 0 || reply.LeaseMS != 10_000 || len(reply.Nodes) != 1 {
		t.Fatalf("reply %+v", reply)
	}
	var block wire.ProcessBlock
	n.call(wire.MethodProcessBlock, nil, &block)
	if block.Start != reply.Block.Start+reply.Block.Count {
		t.Errorf("block %+v after %+v", block, reply.Block)
	}
	var started wire.JobStarted
	n.call(wire.MethodJobStart, wire.JobStart{Job: spec.Job{Entrypoint: "python x.py"}}, &started)
	if started.JobID != spec.JobIDFromInt(1) {
		t.Errorf("job id %s", started.JobID)
	}
	ctx := context.Background()
	put := map[string]any{"ns": "a", "key": "k", "overwrite": false}
	for i, want := range []bool{true, false} {
		var added struct{ Added bool }
		if _, err := n.peer.Call(ctx, "kv.put", put, &added, []byte("v")); err != nil || added.Added != want {
			t.Errorf("put %d: %v %v", i, added, err)
		}
	}
	tail, err := n.peer.Call(ctx, "kv.get", put, nil, nil)
	if err != nil || string(tail) != "v" {
		t.Errorf("get: %q %v", tail, err)
	}
	var res map[string]spec.Resources
	n.call("cluster.resources", nil, &res)
	if res["total"]["CPU"] != 4*spec.FixedScale {
		t.Errorf("resources %v", res)
	}
	if err := n.try("no.such", nil, nil); err == nil || !strings.Contains(err.Error(), "not supported yet") {
		t.Errorf("unknown method: %v", err)
	}
}

func TestActorLife(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	owner, other := join(t, h, "one", cpus(0)), join(t, h, "two", cpus(2))
	id := actorID(1, spec.JobIDFromInt(1))
	req := wire.ActorCreate{
		Info:      spec.ActorInfo{ID: id, JobID: spec.JobIDFromInt(1), Options: spec.ActorOptions{ClassName: "A", Name: "bob", Namespace: "ns", MaxRestarts: 1}},
		Placement: cpus(1), Strategy: spec.Strategy{Kind: spec.StrategyDefault},
	}
	owner.call(wire.MethodActorCreate, req, nil)
	place := await[wire.ActorPlace](owner, wire.MethodActorPlace, 0)
	if place.Node != other.id || place.Incarnation != 1 {
		t.Fatalf("place %+v", place)
	}
	var info spec.ActorInfo
	other.call(wire.MethodActorWatch, wire.ActorRef{ActorID: id}, &info)
	if info.State != spec.ActorPending {
		t.Errorf("state %s", info.State)
	}
	other.note(wire.MethodActorStarted, wire.ActorStarted{ActorID: id, Incarnation: 1, PID: 7})
	eventually(t, "alive", func() bool {
		owner.call("actor.get", map[string]string{"name": "bob", "namespace": "ns"}, &info)
		return info.State == spec.ActorAlive
	})
	if up := await[spec.ActorInfo](other, wire.MethodActorUpdate, 0); up.State != spec.ActorAlive || up.PID != 7 {
		t.Errorf("update %+v", up)
	}
	other.note(wire.MethodActorEnded, wire.ActorEnded{ActorID: id, Incarnation: 1})
	if again := await[wire.ActorPlace](owner, wire.MethodActorPlace, 1); again.Incarnation != 2 {
		t.Errorf("second place %+v", again)
	}
	other.note(wire.MethodActorStarted, wire.ActorStarted{ActorID: id, Incarnation: 2, PID: 8})
	owner.call("actor.kill", wire.ActorKill{ActorID: id, NoRestart: true}, nil)
	await[wire.ActorKill](other, wire.MethodActorKill, 0)
	if err := owner.try("actor.get", map[string]string{"name": "bob", "namespace": "ns"}, &info); err == nil {
		t.Error("the name of a dead actor is still there")
	}
}

func TestPlacementGroupOverTwoNodes(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	a, b := join(t, h, "one", cpus(1)), join(t, h, "two", cpus(1))
	b.refuse(wire.MethodBundlePrepare, true)
	pg := spec.PlacementGroup{ID: spec.PlacementGroupID{1}, Strategy: spec.StrictSpread, Bundles: []spec.Resources{cpus(1), cpus(1)}}
	a.call("pg.create", pg, nil)
	await[wire.Bundle](a, wire.MethodBundleReturn, 0) // what a had reserved goes back
	b.refuse(wire.MethodBundlePrepare, false)
	var ready struct{ Ready bool }
	a.call("pg.wait", map[string]any{"id": pg.ID, "timeout_s": 10}, &ready)
	if !ready.Ready {
		t.Fatal("not ready")
	}
	var table []spec.PlacementGroup
	a.call("pg.table", map[string]any{}, &table)
	if len(table) != 1 || table[0].State != spec.PGCreated || table[0].Nodes[0] == table[0].Nodes[1] {
		t.Fatalf("table %+v", table)
	}
	a.call(wire.MethodHeartbeat, full(wire.Heartbeat{Total: cpus(1), IdleMS: 9, GroupReserved: cpus(1)}), nil)
	nodes := cluster{h}.Nodes()
	if n := nodes[0]; n.ID == a.id && (n.IdleMS != 0 || len(n.Activity) != 1) {
		t.Errorf("a node with a reservation is idle: %+v", n)
	}
	a.call("pg.remove", map[string]any{"id": pg.ID}, nil)
	await[wire.Bundle](b, wire.MethodBundleReturn, 0)
}

func TestGrantsAndReasons(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	a, b := join(t, h, "one", cpus(1)), join(t, h, "two", cpus(2))
	a.note(wire.MethodPlaces, wire.Places{Rows: []wire.PlaceRow{
		{Key: "f", Resources: cpus(2), Strategy: spec.Strategy{Kind: spec.StrategyDefault}, Count: 3, Infeasible: true},
		{Key: "g", Resources: spec.FromFloats(map[string]float64{"GPU": 1}), Strategy: spec.Strategy{Kind: spec.StrategyDefault}, Count: 1, Infeasible: true},
	}})
	g := await[wire.Grants](a, wire.MethodGrants, 0)
	if len(g.Grants) != 1 || g.Grants[0].Node != b.id || g.Grants[0].Count != 1 || len(g.Reasons) != 2 {
		t.Fatalf("grants %+v", g)
	}
	if !g.Reasons[1].Infeasible || !strings.Contains(g.Reasons[1].Text, "no node has GPU: 1; nearest:") {
		t.Errorf("reason %+v", g.Reasons[1])
	}
	c := join(t, h, "gpu", spec.FromFloats(map[string]float64{"GPU": 1, "CPU": 1}))
	eventually(t, "the GPU task gets its place", func() bool {
		for _, raw := range a.got(wire.MethodGrants) {
			if strings.Contains(string(raw), c.id.String()) {
				return true
			}
		}
		return false
	})
	var s spec.Status
	a.call("status", nil, &s)
	if len(s.Nodes) != 3 || len(s.Demands) != 1 || s.Demands[0].Count != 2 {
		t.Errorf("status %+v", s.Demands)
	}
}
