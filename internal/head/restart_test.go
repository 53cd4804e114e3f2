package head

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

// TestRestart replaces a head under living actors, groups and jobs: nothing
// that runs is started again, nothing is forgotten.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gcs.db")
	open := func() *gcs.Bolt {
		s, err := gcs.OpenBolt(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	cfg := Config{SessionDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	store := open()
	h, err := newHead(context.Background(), cfg, store)
	if err != nil {
		t.Fatal(err)
	}
	h.start()
	n := join(t, h, "one", cpus(4))
	var job wire.JobStarted
	n.call(wire.MethodJobStart, wire.JobStart{Job: spec.Job{Entrypoint: "x"}}, &job)
	id := actorID(1, job.JobID)
	create := wire.ActorCreate{Info: spec.ActorInfo{ID: id, JobID: job.JobID, Owner: n.id, Options: spec.ActorOptions{Name: "bob", Namespace: "ns"}}, Placement: cpus(1)}
	n.call(wire.MethodActorCreate, create, nil)
	await[wire.ActorPlace](n, wire.MethodActorPlace, 0)
	n.note(wire.MethodActorStarted, wire.ActorStarted{ActorID: id, Incarnation: 1, PID: 7})
	pg := spec.PlacementGroup{ID: spec.PlacementGroupID{1}, JobID: job.JobID, Strategy: spec.Pack, Bundles: []spec.Resources{cpus(1)}}
	n.call("pg.create", pg, nil)
	n.call("pg.wait", map[string]any{"id": pg.ID}, nil)
	n.call("kv.put", map[string]string{"ns": "a", "key": "k"}, nil)
	var info spec.ActorInfo
	eventually(t, "alive", func() bool {
		n.call("actor.info", wire.ActorRef{ActorID: id}, &info)
		return info.State == spec.ActorAlive
	})
	h.close()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	store = open()
	t.Cleanup(func() { _ = store.Close() })
	h = startHead(t, store, cfg)
	m := dial(t, h)
	m.id = n.id
	if err := m.try(wire.MethodHeartbeat, full(wire.Heartbeat{}), nil); err == nil || !strings.Contains(err.Error(), "not registered") {
		t.Errorf("a heartbeat before the registration: %v", err)
	}
	reply := m.register(wire.RegisterRequest{
		Info:  spec.NodeInfo{ID: n.id, Total: cpus(4), Pythons: []string{"3.11"}},
		Owned: []wire.ActorCreate{create}, Actors: []wire.ActorStarted{{ActorID: id, Incarnation: 1, PID: 7}},
		Bundles: []wire.Bundle{{Group: pg.ID, Index: 0, Resources: cpus(1)}},
		Jobs:    []spec.Job{{JobID: job.JobID, Entrypoint: "x"}},
	})
	if reply.ClusterID == "" || reply.Block.Start <= 1024 {
		t.Errorf("reply %+v", reply)
	}
	m.call("actor.get", map[string]string{"name": "bob", "namespace": "ns"}, &info)
	if info.State != spec.ActorAlive || info.Incarnation != 1 || info.PID != 7 {
		t.Errorf("actor %+v", info)
	}
	var groups []spec.PlacementGroup
	m.call("pg.table", map[string]any{}, &groups)
	if len(groups) != 1 || groups[0].State != spec.PGCreated {
		t.Errorf("groups %+v", groups)
	}
	var next wire.JobStarted
	m.call(wire.MethodJobStart, wire.JobStart{}, &next)
	if next.JobID.Int() != job.JobID.Int()+1 {
		t.Errorf("job id %v was given twice", next.JobID)
	}
	for _, method := range []string{wire.MethodActorPlace, wire.MethodActorKill, wire.MethodBundleReturn, wire.MethodBundlePrepare} {
		if got := m.got(method); len(got) > 0 {
			t.Errorf("the new head sent %s: %s", method, got[0])
		}
	}
}

// TestRestartWithADeadNode: a node that died before the restart changes nothing
// for the others.
func TestRestartWithADeadNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gcs.db")
	cfg := Config{SessionDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	store, err := gcs.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHead(context.Background(), cfg, store)
	if err != nil {
		t.Fatal(err)
	}
	h.start()
	register := func(n *fakeNode, instance string) {
		n.register(wire.RegisterRequest{Info: spec.NodeInfo{ID: n.id, Instance: instance, Total: cpus(1)}})
	}
	dead, one, next := dial(t, h), dial(t, h), dial(t, h)
	register(dead, "i-1")
	register(one, "i-2")
	h.mu.Lock()
	h.declareDead(dead.id, "killed", false)
	h.mu.Unlock()
	register(next, "i-1") // its machine's next node
	h.close()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	if store, err = gcs.OpenBolt(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	h = startHead(t, store, cfg)
	for _, old := range []*fakeNode{one, next} {
		n := dial(t, h)
		n.id = old.id
		register(n, map[bool]string{true: "i-2", false: "i-1"}[old == one])
		var reply wire.HeartbeatReply
		n.call(wire.MethodHeartbeat, full(wire.Heartbeat{}), &reply)
		if reply.Unknown {
			t.Errorf("node %s was turned away", n.id)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost != 0 {
		t.Errorf("it waits for %d nodes more", h.lost)
	}
}

// TestSilentNodeDies lets a lease run out; the other node and the drivers'
// jobs learn of it, and a late heartbeat is told so.
func TestSilentNodeDies(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{LeaseMS: 200})
	a, b := join(t, h, "one", cpus(1)), join(t, h, "two", cpus(1))
	stop := make(chan struct{})
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				_ = a.try(wire.MethodHeartbeat, full(wire.Heartbeat{Total: cpus(1), Available: cpus(1)}), nil)
			}
		}
	}()
	defer func() { close(stop); <-beating }()
	eventually(t, "the verdict", func() bool {
		for _, raw := range a.got(wire.MethodNodesUpdate) {
			var rows []spec.Node
			if json.Unmarshal(raw, &rows) == nil && len(rows) == 1 && rows[0].ID == b.id && rows[0].State == spec.NodeDead {
				return strings.Contains(rows[0].DeathReason, "no word from it")
			}
		}
		return false
	})
	if err := b.try("nodes.list", nil, nil); err == nil {
		t.Error("a dead node was served")
	}
	var nodes []spec.Node
	a.call("nodes.list", nil, &nodes)
	if len(nodes) != 2 || nodes[0].State != spec.NodeAlive || nodes[1].State != spec.NodeDead {
		t.Errorf("nodes %+v", nodes)
	}
}

// TestRefusedPort is a daemon that is gone: its machine refuses its port.
func TestRefusedPort(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // nobody listens there any more
	n := dial(t, h)
	n.register(wire.RegisterRequest{Info: spec.NodeInfo{ID: n.id, Address: address, Total: cpus(1)}})
	begun := time.Now()
	_ = n.peer.Close()
	eventually(t, "dead", func() bool {
		rows := cluster{h}.Nodes()
		return len(rows) == 1 && rows[0].State == spec.NodeDead
	})
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %s, as long as a lease", took)
	}
}

// TestDrain ends a node once it is idle.
func TestDrain(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	a, b := join(t, h, "one", cpus(1)), join(t, h, "two", cpus(1))
	b.refuse(wire.MethodDrain, true)
	drain := map[string]any{"node_id": b.id, "reason": "DRAIN_NODE_REASON_PREEMPTION", "message": "spot"}
	if err := a.try("node.drain", drain, nil); err == nil {
		t.Error("a refusal was not passed on")
	}
	b.peer.Handle(wire.MethodDrain, func(context.Context, *wire.Request) (any, []byte, error) {
		return wire.DrainReply{Accepted: true}, nil, nil
	})
	a.call("node.drain", drain, nil)
	b.call(wire.MethodHeartbeat, full(wire.Heartbeat{Total: cpus(1), Draining: true}), nil)
	if len(b.got(wire.MethodShutdown)) > 0 {
		t.Error("a busy node was ended")
	}
	b.call(wire.MethodHeartbeat, full(wire.Heartbeat{Total: cpus(1), Draining: true, IdleMS: 5}), nil)
	await[any](b, wire.MethodShutdown, 0)
	b.note(wire.MethodUnregister, nil)
	eventually(t, "it left", func() bool {
		rows := cluster{h}.Nodes()
		return rows[1].State == spec.NodeDead && rows[1].DeathReason == "spot" && rows[1].DeathKind == spec.DeathPreempted
	})
}

// TestDrainThatOvertakesItsAnswer: a node without work may have left before
// the head has read that it agrees; why it left is known all the same.
func TestDrainThatOvertakesItsAnswer(t *testing.T) {
	h := startHead(t, gcs.NewMemory(), Config{})
	a, b := join(t, h, "one", cpus(1)), join(t, h, "two", cpus(1))
	gone := func() bool { return cluster{h}.Nodes()[1].State == spec.NodeDead }
	b.peer.Handle(wire.MethodDrain, func(context.Context, *wire.Request) (any, []byte, error) {
		b.call(wire.MethodHeartbeat, full(wire.Heartbeat{Total: cpus(1), Draining: true, IdleMS: 5}), nil)
		b.note(wire.MethodUnregister, nil)
		eventually(t, "it left", gone)
		return wire.DrainReply{Accepted: true}, nil, nil
	})
	_ = a.try("node.drain", map[string]any{"node_id": b.id, "reason": "DRAIN_NODE_REASON_PREEMPTION", "message": "spot"}, nil) // its answer may be lost with the node
	eventually(t, "it left", gone)
	if n := (cluster{h}).Nodes()[1]; n.DeathReason != "spot" || n.DeathKind != spec.DeathPreempted {
		t.Errorf("it ended as %s: %s", n.DeathKind, n.DeathReason)
	}
}

// TestRun serves on real ports: token, ready file, taken ports.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	a, err := wire.CreateToken(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan Ready, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cfg := Config{
		SessionDir: dir, SessionName: "s", TokenPath: a.Path, DashboardPort: 1, ReadyFile: filepath.Join(dir, "ready.json"),
		Log: slog.New(slog.DiscardHandler), OnReady: func(r Ready) { ready <- r }, StorePath: filepath.Join(dir, "gcs.db"),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	cfg.DashboardPort = l.Addr().(*net.TCPAddr).Port // taken: the next free one is used
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg) }()
	r := <-ready
	var file Ready
	text, err := os.ReadFile(cfg.ReadyFile)
	if err != nil || json.Unmarshal(text, &file) != nil || file != r {
		t.Errorf("ready file %s: %v", text, err)
	}
	if r.Dashboard == l.Addr().String() {
		t.Error("the dashboard took a port that was taken")
	}
	resp, err := http.Get("http://" + r.Dashboard + "/api/v1/status")
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("without a token: %v %v", resp, err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()

	taken := cfg
	taken.Port, taken.StorePath, taken.OnReady = r.Port, "", nil
	if err := Run(context.Background(), taken); err == nil || !strings.Contains(err.Error(), "is in use, perhaps by another cluster") {
		t.Errorf("a taken port: %v", err)
	}
	taken.Port, taken.DashboardPortExplicit = 0, true
	if err := Run(context.Background(), taken); err == nil || !strings.Contains(err.Error(), "--dashboard-port") {
		t.Errorf("a taken dashboard port: %v", err)
	}

	s, err := wire.DialSession(context.Background(), wire.DialOptions{Dialer: wire.Dialer{Auth: a}, Address: func() string { return r.Address }, Self: "test"})
	if err != nil {
		t.Fatal(err)
	}
	p := wire.NewPeer(s, wire.PeerOptions{})
	p.Start()
	defer func() { _ = p.Close() }()
	var reply wire.RegisterReply
	id := spec.NewNodeID()
	if _, err := p.Call(context.Background(), wire.MethodRegister, wire.RegisterRequest{Info: spec.NodeInfo{ID: id, Total: cpus(1)}}, &reply, nil); err != nil || reply.ClusterID != r.ClusterID {
		t.Errorf("over TLS: %+v %v", reply, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}
