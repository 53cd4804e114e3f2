package head

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"ray/autoscaler"
	"ray/internal/bootstrap"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/providers"
	"ray/providers/prices"
)

// autoscaling joins the autoscaler to the head's tables and to the machines.
type autoscaling struct {
	h         *Head
	tokenFile string
	view      autoscaler.ClusterView // of the head, from inside or outside
	loop      *autoscaler.Reconciler
	cancel    context.CancelFunc // of what follows the cluster file
	following sync.WaitGroup

	mu      sync.Mutex
	fleet   *bootstrap.Fleet
	config  autoscaler.Config
	rows    map[string]autoscaler.Instance
	memory  autoscaler.Memory
	unready map[string]string // last step of set-ups under way, by cloud id
}

// startAutoscaler begins to scale if the head was given a cluster file.
func (h *Head) startAutoscaler(a wire.Auth) error {
	if h.cfg.AutoscalingConfig == "" {
		return nil
	}
	tokenFile := h.cfg.TokenPath
	if tokenFile == "" {
		tokenFile = a.Path
	}
	s := &autoscaling{h: h, tokenFile: tokenFile, rows: map[string]autoscaler.Instance{}, unready: map[string]string{}}
	s.view = s
	var err error
	if s.fleet, s.config, err = s.load(); err != nil {
		return err
	}
	if s.fleet.Manual() {
		h.log.Info("workers of this provider are started by hand or by ray up: nothing is launched here")
	}
	s.loop, err = autoscaler.Start(h.ctx, autoscaler.Options{
		Config: s.config, Provider: s, Installer: s, View: s, Drainer: s, Store: s,
		NewID: newInstanceID,
		Emit:  s.emit,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(h.ctx)
	s.cancel = cancel
	s.following.Go(func() { s.watchFile(ctx, s.emit) })
	h.mu.Lock()
	h.scaler = s
	h.mu.Unlock()
	return nil
}

// newInstanceID makes an id that no instance has had.
func newInstanceID(nodeType string) string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return nodeType + "-" + hex.EncodeToString(b[:])
}

func (h *Head) stopAutoscaler() {
	h.mu.Lock()
	s := h.scaler
	h.scaler = nil
	h.mu.Unlock()
	if s != nil {
		s.close()
	}
}

func scalingConfig(f *bootstrap.Fleet, table *prices.Table) autoscaler.Config {
	c := autoscaler.Config{
		NodeTypes: map[string]autoscaler.NodeType{}, MaxDisrupted: f.Config.MaxDisrupted, HeadType: f.Config.HeadType, MaxWorkers: f.Config.MaxWorkers,
		UpscalingSpeed: f.Config.UpscalingSpeed, Consolidate: f.Config.Consolidate, MaxCost: f.Config.MaxCost, IdleTimeout: f.Config.IdleTimeout,
	}
	c.SpendGPU = os.Getenv("AUTOSCALER_CONSERVE_GPU_NODES") == "0"
	if stop := f.Config.AutoStop; stop != nil {
		c.AutoStop = &autoscaler.AutoStop{Idle: stop.Idle, Action: stop.Action}
	}
	runtime := runtimeHashes(f)
	for name, t := range f.Config.NodeTypes {
		hash, err := f.Config.LaunchHash(name)
		if err != nil || f.Config.Provider.Bool("disable_launch_config_check", false) {
			hash = "" // an empty hash is never outdated
		}
		idle := t.IdleTimeout
		price := table.NodeType(f.Config, name)
		n := autoscaler.NodeType{
			Resources: t.Resources, Labels: t.Labels, Min: t.Min, Max: t.Max, IdleTimeout: &idle, Priority: int(t.Priority),
			Price: price.USD, Unpriced: !price.Known, LaunchHash: hash, RuntimeHash: runtime[name], Offerings: f.Offerings(name),
		}
		if f.Manual() {
			n.Min = 0
		}
		c.NodeTypes[name] = n
	}
	return c
}

// Launch implements autoscaler.Provider.
func (s *autoscaling) Launch(ctx context.Context, nodeType string, names []string, ways []spec.Offering) ([]autoscaler.Machine, []autoscaler.Attempt, error) {
	if s.current().Manual() {
		return nil, nil, fmt.Errorf("%w: the hosts of this provider are all listed in the cluster file", autoscaler.ErrCapacity)
	}
	var attempts []autoscaler.Attempt
	made, err := s.current().Launch(ctx, nodeType, names, ways, func(o spec.Offering, err error) {
		attempts = append(attempts, autoscaler.Attempt{Offering: o, Err: scarce(err)})
	})
	return machines(made), attempts, scarce(err)
}

// scarce marks errors that mean that there is nothing to be had now.
func scarce(err error) error {
	if cause := providers.CauseOf(err); cause == providers.Capacity || cause == providers.Quota {
		return fmt.Errorf("%w: %w", autoscaler.ErrCapacity, err)
	}
	return err
}

// List implements autoscaler.Provider.
func (s *autoscaling) List(ctx context.Context) ([]autoscaler.Machine, error) {
	list, err := s.current().Workers(ctx)
	return machines(list), err
}

func machines(list []providers.Instance) []autoscaler.Machine {
	out := make([]autoscaler.Machine, 0, len(list))
	for _, i := range list {
		out = append(out, autoscaler.Machine{
			Ending: i.State == providers.Stopping, Stopped: i.State == providers.Stopped,
			ID: i.ID, Name: i.Tags[providers.TagRequest], NodeType: i.Type, IP: i.IP, LaunchHash: i.Tags[providers.TagLaunchHash],
		})
	}
	return out
}

// Terminate implements autoscaler.Provider.
func (s *autoscaling) Terminate(ctx context.Context, ids []string) error {
	return s.current().Terminate(ctx, ids)
}

// Stop implements autoscaler.Provider.
func (s *autoscaling) Stop(ctx context.Context, ids []string) error {
	return s.current().Stop(ctx, ids)
}

// EndHead implements autoscaler.Provider.
func (s *autoscaling) EndHead(ctx context.Context) error { return s.current().EndHead(ctx) }

// Install implements autoscaler.Installer.
func (s *autoscaling) Install(ctx context.Context, inst autoscaler.Instance) error {
	defer func() {
		s.mu.Lock()
		delete(s.unready, inst.CloudID)
		s.mu.Unlock()
	}()
	return s.current().Install(ctx, inst.CloudID)
}

// joined tells whether a node that may take work runs on the machine; it waits
// for a head that does not answer.
func (s *autoscaling) joined(ctx context.Context, id string) (bool, error) {
	for {
		v, err := s.view.View(ctx)
		if err == nil {
			return slices.ContainsFunc(v.Nodes, func(n spec.Node) bool {
				return n.Instance == id && n.State == spec.NodeAlive
			}), nil
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-time.After(time.Second):
		}
	}
}

// progress keeps the last step of each set-up for the status, and the log.
func (s *autoscaling) progress(e bootstrap.Event) {
	switch e.Phase {
	case bootstrap.Begun:
		s.mu.Lock()
		s.unready[e.Instance] = fmt.Sprintf("%s (%d of %d)", e.Step, e.Number, e.Of)
		s.mu.Unlock()
		s.h.log.Info("node set-up", "instance", e.Instance, "type", e.NodeType, "step", e.Step)
	case bootstrap.Output, bootstrap.Command, bootstrap.Failed:
		s.h.log.Info("node set-up", "instance", e.Instance, "step", e.Step, string(e.Phase), e.Text)
	}
}

// View implements autoscaler.ClusterView.
func (s *autoscaling) View(context.Context) (autoscaler.View, error) {
	h := s.h
	consolidate := s.current().Config.Consolidate
	h.mu.Lock()
	defer h.mu.Unlock()
	jobs := h.tables.Jobs()
	v := autoscaler.View{Nodes: h.tables.Nodes(), Demands: h.demands(), Constraints: slices.Clone(h.tables.Constraints()), Drivers: drivers(jobs)}
	for _, g := range h.tables.Groups() {
		if g.Info.State == spec.PGPending || g.Info.State == spec.PGRescheduling {
			v.Groups = append(v.Groups, g.Info)
		}
	}
	if consolidate {
		v.Passing = passing(v.Nodes, h.tables.Actors(), h.tables.Groups(), jobs)
	}
	return v, nil
}

// Drain implements autoscaler.Drainer. A node that is thought to be idle
// refuses if it has got work since then.
func (s *autoscaling) Drain(ctx context.Context, d autoscaler.Drain) error {
	request := spec.Drain{Reason: spec.DrainIdle, Message: d.Reason}
	if d.Busy {
		request.Reason = spec.DrainPreempted
	}
	if !d.Deadline.IsZero() {
		request.DeadlineMS = d.Deadline.UnixMilli()
	}
	reply, err := s.h.drain(ctx, d.Node, request)
	if err == nil && !reply.Accepted {
		err = errors.New("the node stays: " + reply.Message)
	}
	return err
}

// emit tells an event, and prints it at the drivers.
func (s *autoscaling) emit(e spec.Event) {
	s.h.mu.Lock()
	s.h.addEvent(e)
	s.h.mu.Unlock()
	s.h.broadcast(wire.MethodLogLines, wire.LogLines{Kind: "autoscaler", Lines: []string{e.Message}})
}

func (s *autoscaling) wake() { s.loop.Wake() }

func (s *autoscaling) close() {
	s.cancel()
	s.following.Wait()
	s.loop.Close()
}

// admits implements scaler.
func (s *autoscaling) admits(instance string) bool { return s.loop.Admits(instance) }

// explain implements scaler.
func (s *autoscaling) explain(d spec.Demand) (text string, served bool) {
	return s.loop.Report().Explain(d)
}

// explainGroup implements scaler.
func (s *autoscaling) explainGroup(id spec.PlacementGroupID) (text string, served, known bool) {
	return s.loop.Report().ExplainGroup(id)
}

func sameNeed(a, b spec.Demand) bool {
	return a.Resources.Key() == b.Resources.Key() && maps.Equal(a.LabelSelector, b.LabelSelector)
}

// fill implements scaler.
func (s *autoscaling) fill(st *spec.Status) {
	report := s.loop.Report()
	st.NodeTypes, st.Failures, st.Backoffs = report.NodeTypes, report.Failures, report.Backoffs
	st.AutoStop, st.ScalerCounts, st.ScalerSums = report.AutoStop, report.Meter.Counts, report.Meter.Sums
	s.notes(report, st.Nodes)
	s.mu.Lock()
	for _, p := range report.Pending {
		if step := s.unready[p.ID]; step != "" {
			p.Reason = step
		}
		st.Pending = append(st.Pending, p)
	}
	s.mu.Unlock()
	for _, d := range report.Infeasible {
		if !slices.ContainsFunc(st.Infeasible, func(o spec.Demand) bool { return sameNeed(o, d) }) {
			st.Infeasible = append(st.Infeasible, d)
		}
	}
}

// notes tells of idle nodes why they stay, and of others why they go.
func (s *autoscaling) notes(report autoscaler.Report, nodes []spec.Node) {
	why := map[string]string{}
	names := map[string]string{}
	for _, row := range s.loop.Instances() {
		names[row.ID] = row.CloudID
	}
	for _, k := range report.Kept {
		why[names[k.InstanceID]] = "stays: " + k.Reason
	}
	for _, p := range report.Stopping {
		why[p.ID] = "leaves: " + p.Reason
	}
	for i := range nodes {
		if text := why[nodes[i].Instance]; text != "" && nodes[i].Instance != "" && nodes[i].State != spec.NodeDead {
			nodes[i].Activity = append(slices.Clone(nodes[i].Activity), text)
		}
	}
}
