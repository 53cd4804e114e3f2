package head

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ray/autoscaler"
	"ray/internal/autoscalerpb"
	"ray/internal/head/claim"
	"ray/internal/head/scalerpc"
	"ray/internal/spec"
	"ray/internal/wire"
)

// Alone says how an autoscaler runs in a process of its own.
type Alone struct {
	Address    string // host:port of the head, as workers reach it too
	Auth       wire.Auth
	ConfigPath string // cluster file
	RayBinary  string // what launched workers run; "" = this program
	Log        *slog.Logger
	// OnReady is called once it scales; nil = nothing.
	OnReady func()
}

const (
	callLimit   = 10 * time.Second // of one call to the head
	limitsEvery = 15               // beats between two reports of what the file allows
)

// alone is the autoscaler outside the head. It makes and ends machines as the
// head's own does; what it sees, drains and stores goes through the service.
type alone struct {
	*autoscaling
	head  *scalerpc.Client
	claim *claim.Claim
	seen  int64 // version of the last state
	lost  bool  // the head has not answered, and that was said
}

// RunAlone scales the cluster of a head until ctx ends, or until another
// autoscaler takes the cluster over, which is [claim.ErrSuperseded]. It waits
// for one that already does. What it leaves half-done is in its table, which
// the next one takes up.
func RunAlone(ctx context.Context, o Alone) error {
	if !o.Auth.Disabled && o.Auth.Path == "" {
		return errors.New("workers are set up with a copy of the token's file: give it by RAY_AUTH_TOKEN_PATH, not by RAY_AUTH_TOKEN")
	}
	client, err := scalerpc.Dial(o.Address, o.Auth)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	a := &alone{head: client}
	if err := a.open(ctx, o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.claim, err = claim.Take(ctx, client.KV, func(h claim.Holder) {
		o.Log.Info("another autoscaler holds this cluster: waiting for its end", "host", h.Host, "pid", h.PID)
	})
	if err != nil {
		return fmt.Errorf("claim the cluster of the head at %s: %w", o.Address, err)
	}
	if err := a.start(ctx, cancel); err != nil {
		return err
	}
	o.Log.Info("the autoscaler runs", "head", o.Address, "cluster", a.fleet.Config.Name, "file", o.ConfigPath)
	if o.OnReady != nil {
		o.OnReady()
	}
	a.following.Go(func() { a.watchFile(ctx, a.emit) })
	a.follow(ctx, cancel)
	a.following.Wait()
	a.loop.Close()
	if err := context.Cause(ctx); errors.Is(err, claim.ErrSuperseded) {
		return err
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
	defer done()
	if err := a.claim.Leave(last); err != nil {
		o.Log.Warn("the head could not be told of the end: the next autoscaler waits a little", "err", err)
	}
	return nil
}

// open reads the cluster file and makes sure that the head leaves the scaling
// to others.
func (a *alone) open(ctx context.Context, o Alone) (err error) {
	// What the head's own autoscaler has of its head: settings and a log.
	settings := &Head{cfg: Config{AutoscalingConfig: o.ConfigPath, RayBinary: o.RayBinary}, log: o.Log, ready: Ready{Address: o.Address}}
	a.autoscaling = &autoscaling{h: settings, tokenFile: o.Auth.Path, rows: map[string]autoscaler.Instance{}, unready: map[string]string{}, view: a}
	if a.fleet, a.config, err = a.load(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	reply, err := a.head.KV.InternalKVGet(ctx, &autoscalerpb.InternalKVGetRequest{
		Namespace: []byte(scalerpc.AloneSpace), Key: []byte(scalerpc.InHeadKey),
	})
	if err != nil {
		return fmt.Errorf("cannot reach the head at %s: %w", o.Address, err)
	}
	if string(reply.Value) == "1" {
		return fmt.Errorf("the head at %s scales its cluster by itself: start it with --no-monitor, or without --autoscaling-config, to leave that to this process", o.Address)
	}
	return nil
}

func (a *alone) start(ctx context.Context, end context.CancelCauseFunc) (err error) {
	store := aloneStore{a, end}
	a.loop, err = autoscaler.Start(ctx, autoscaler.Options{
		Config: a.config, Provider: a.autoscaling, Installer: a.autoscaling, View: a, Drainer: a, Store: store,
		NewID: newInstanceID, Emit: a.emit,
	})
	return err
}

// follow beats and reports until ctx ends.
func (a *alone) follow(ctx context.Context, end context.CancelCauseFunc) {
	ticker := time.NewTicker(claim.BeatEvery)
	defer ticker.Stop()
	for beats := 0; ; beats++ {
		call, cancel := context.WithTimeout(ctx, callLimit)
		err := a.claim.Beat(call)
		if err == nil && beats%limitsEvery == 0 {
			_, err = a.head.ReportClusterConfig(call, &autoscalerpb.ReportClusterConfigRequest{ClusterConfig: scalerpc.LimitsOf(a.limits())})
		}
		if err == nil {
			_, err = a.head.ReportAutoscalingState(call, &autoscalerpb.ReportAutoscalingStateRequest{AutoscalingState: a.state()})
		}
		cancel()
		if errors.Is(err, claim.ErrSuperseded) {
			end(err)
		}
		a.answered(ctx, err)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// answered says once that the head is silent, and once that it is back.
func (a *alone) answered(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && !a.lost:
		a.h.log.Warn("the head does not answer: nothing is decided until it does", "err", err)
	case err == nil && a.lost:
		a.h.log.Info("the head answers again")
	}
	a.lost = err != nil
}

// state is the report; its version grows over restarts of this process.
func (a *alone) state() *autoscalerpb.AutoscalingState {
	var s spec.Status
	a.fill(&s)
	out := scalerpc.ReportOf(s)
	out.AutoscalerStateVersion = time.Now().UnixMilli()
	a.mu.Lock()
	out.LastSeenClusterResourceStateVersion = a.seen
	a.mu.Unlock()
	return out
}

// View implements autoscaler.ClusterView.
func (a *alone) View(ctx context.Context) (autoscaler.View, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	reply, err := a.head.GetClusterResourceState(ctx, &autoscalerpb.GetClusterResourceStateRequest{})
	if err != nil {
		return autoscaler.View{}, err
	}
	a.mu.Lock()
	a.seen = reply.ClusterResourceState.GetClusterResourceStateVersion()
	a.mu.Unlock()
	v, err := scalerpc.ViewOf(reply.ClusterResourceState)
	if err == nil {
		err = a.work(ctx, &v)
	}
	return v, err
}

// work adds to a view what upstream's service does not tell.
func (a *alone) work(ctx context.Context, v *autoscaler.View) error {
	reply, err := a.head.KV.InternalKVGet(ctx, &autoscalerpb.InternalKVGetRequest{
		Namespace: []byte(scalerpc.AloneSpace), Key: []byte(scalerpc.WorkKey),
	})
	if err != nil {
		return err
	}
	var w scalerpc.Work
	if err := json.Unmarshal(reply.Value, &w); err != nil {
		return fmt.Errorf("the head does not tell what its cluster runs: %w", err)
	}
	v.Drivers, v.Passing = w.Drivers, make(map[spec.NodeID]bool, len(w.Passing))
	for _, id := range w.Passing {
		v.Passing[id] = true
	}
	return nil
}

// Drain implements autoscaler.Drainer.
func (a *alone) Drain(ctx context.Context, d autoscaler.Drain) error {
	request := &autoscalerpb.DrainNodeRequest{
		NodeId: d.Node[:], Reason: autoscalerpb.DrainNodeReason_DRAIN_NODE_REASON_IDLE_TERMINATION, ReasonMessage: d.Reason,
	}
	if d.Busy {
		request.Reason = autoscalerpb.DrainNodeReason_DRAIN_NODE_REASON_PREEMPTION
	}
	if !d.Deadline.IsZero() {
		request.DeadlineTimestampMs = d.Deadline.UnixMilli()
	}
	reply, err := a.head.DrainNode(ctx, request)
	if err == nil && !reply.IsAccepted {
		err = errors.New("the node stays: " + reply.RejectionReasonMessage)
	}
	return err
}

// aloneStore keeps the table under the claim.
type aloneStore struct {
	a   *alone
	end context.CancelCauseFunc
}

// Load implements autoscaler.InstanceStore.
func (s aloneStore) Load(ctx context.Context) (autoscaler.Saved, error) {
	text, err := s.a.claim.Table(ctx)
	if err != nil {
		return autoscaler.Saved{}, err
	}
	return s.a.take(text)
}

// Save implements autoscaler.InstanceStore. When another has the cluster,
// nothing that was decided is done.
func (s aloneStore) Save(ctx context.Context, c autoscaler.Changes) error {
	text, err := s.a.apply(c)
	if err != nil {
		return err
	}
	err = s.a.claim.Store(ctx, text)
	if errors.Is(err, claim.ErrSuperseded) {
		s.end(err)
	} else if err == nil {
		err = s.a.claim.Tidy(ctx)
	}
	return err
}
