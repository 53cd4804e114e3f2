package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// localRequest is the line that ray.init() writes to the stdin of `ray __local`.
type localRequest struct {
	NumCPUs           *float64                   `json:"num_cpus"`
	NumGPUs           *float64                   `json:"num_gpus"`
	Resources         map[string]float64         `json:"resources"`
	Labels            map[string]string          `json:"labels"`
	Memory            *float64                   `json:"memory"`
	ObjectStoreMemory *float64                   `json:"object_store_memory"`
	IncludeDashboard  *bool                      `json:"include_dashboard"`
	DashboardHost     string                     `json:"dashboard_host"`
	DashboardPort     *int                       `json:"dashboard_port"`
	Namespace         string                     `json:"namespace"` // the driver's own affair
	Python            string                     `json:"python"`
	OwnerPID          int                        `json:"owner_pid"`
	SystemConfig      map[string]json.RawMessage `json:"system_config"`
	TmpDir            string                     `json:"tmpdir"`
	NodeIP            string                     `json:"node_ip_address"`
	NodeIPShort       string                     `json:"node_ip"`
	NodeName          string                     `json:"node_name"`
	SpillDir          string                     `json:"object_spilling_directory"`
	StoreDir          string                     `json:"plasma_directory"`
	Port              int                        `json:"port"`
	MetricsPort       int                        `json:"metrics_export_port"`
	Reconstruct       *bool                      `json:"enable_object_reconstruction"`
}

// options turns the request into what `ray start --head` would be given.
func (r localRequest) options() *startOptions {
	o := newStartOptions()
	o.head, o.local = true, true
	o.port = 0
	o.numCPUs, o.numGPUs, o.memory, o.objectStore = r.NumCPUs, r.NumGPUs, r.Memory, r.ObjectStoreMemory
	o.resources, o.labels = r.Resources, r.Labels
	o.includeDashboard = r.IncludeDashboard
	if r.DashboardHost != "" {
		o.dashboardHost = r.DashboardHost
	}
	o.dashboardPort = r.DashboardPort
	o.python, o.ownerPID, o.system = r.Python, r.OwnerPID, r.SystemConfig
	o.tempDir, o.nodeName, o.spillDir, o.storeDir = r.TmpDir, r.NodeName, r.SpillDir, r.StoreDir
	o.nodeIP = r.NodeIP
	if o.nodeIP == "" {
		o.nodeIP = r.NodeIPShort
	}
	if r.Port != 0 {
		o.port = r.Port
	}
	o.metricsPort = r.MetricsPort
	o.reconstruct = r.Reconstruct == nil || *r.Reconstruct
	return o
}

// runLocal is the cluster of one driver. in is its request line and then, by
// its end of file, the end of the cluster; out gets one line, the
// announcement, when the driver can connect.
func runLocal(ctx context.Context, in, out *os.File) error {
	// The driver's terminal must not signal us: we end when it ends.
	_, _ = syscall.Setsid()
	reader := bufio.NewReader(in)
	line, err := reader.ReadBytes('\n')
	if err != nil && !(errors.Is(err, io.EOF) && len(line) > 0) {
		return fmt.Errorf("read the request of ray.init(): %w", err)
	}
	var request localRequest
	if err := json.Unmarshal(line, &request); err != nil {
		return fmt.Errorf("the request of ray.init() is not valid: %w", err)
	}
	plan, err := planStart(request.options())
	if err != nil {
		return err
	}
	if err := keepLog(filepath.Join(plan.dir.Logs(), "raylet.err")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go cancelAtEOF(in, cancel)
	err = runNode(ctx, plan.node, out)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// keepLog sends this process's stderr to a file from now on: what a daemon
// writes must not end up between the lines of the driver's terminal. The
// original is kept for an error that ends the start.
func keepLog(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the daemon's log: %w", err)
	}
	os.Stderr = f
	return nil
}
