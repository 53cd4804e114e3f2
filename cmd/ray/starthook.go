package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
)

// hookParams are the options of `ray start` as the attributes that upstream's
// hooks know; null is what was not given. A hook may change those that have a
// meaning before the node is started.
type hookParams struct {
	GCSAddress       *string                    `json:"gcs_address"`
	NumCPUs          *float64                   `json:"num_cpus"`
	NumGPUs          *float64                   `json:"num_gpus"`
	Memory           *float64                   `json:"memory"`
	ObjectStore      *float64                   `json:"object_store_memory"`
	Resources        map[string]float64         `json:"resources"`
	Labels           map[string]string          `json:"labels"`
	Port             *int                       `json:"gcs_server_port"`
	NodeIP           *string                    `json:"node_ip_address"`
	NodeName         *string                    `json:"node_name"`
	TempDir          *string                    `json:"temp_dir"`
	SpillDir         *string                    `json:"object_spilling_directory"`
	StoreDir         *string                    `json:"plasma_directory"`
	IncludeDashboard *bool                      `json:"include_dashboard"`
	DashboardHost    *string                    `json:"dashboard_host"`
	DashboardPort    *int                       `json:"dashboard_port"`
	MetricsPort      *int                       `json:"metrics_export_port"`
	ClientPort       *int                       `json:"ray_client_server_port"`
	Autoscaling      *string                    `json:"autoscaling_config"`
	NoMonitor        *bool                      `json:"no_monitor"`
	System           map[string]json.RawMessage `json:"_system_config"`
}

// startHook calls the Python function that RAY_START_HOOK names with the options
// and whether a head is started, and takes over what it has changed.
func startHook(cmd *cobra.Command, o *startOptions) error {
	name := os.Getenv("RAY_START_HOOK")
	if name == "" {
		return nil
	}
	said, err := runHook(cmd, "ray._private.start_hook", map[string]any{"head": o.head, "params": o.hookParams()})
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = fmt.Errorf("it ended with %w", err)
	}
	if err != nil {
		return fmt.Errorf("RAY_START_HOOK=%s: nothing was started: %w", name, err)
	}
	p := o.hookParams()
	if err := json.Unmarshal(said, &p); err != nil {
		return fmt.Errorf("RAY_START_HOOK=%s: nothing was started: what it has changed cannot be read: %w", name, err)
	}
	o.takeHookParams(p)
	return nil
}

func (o *startOptions) hookParams() hookParams {
	p := hookParams{
		NumCPUs: o.numCPUs, NumGPUs: o.numGPUs, Memory: o.memory, ObjectStore: o.objectStore, Resources: o.resources, Labels: o.labels,
		GCSAddress: given(o.address), NodeIP: given(o.nodeIP), NodeName: given(o.nodeName), TempDir: given(o.tempDir),
		SpillDir: given(o.spillDir), StoreDir: given(o.storeDir), DashboardHost: given(o.dashboardHost), Autoscaling: given(o.autoscaling),
		IncludeDashboard: o.includeDashboard, DashboardPort: o.dashboardPort, ClientPort: o.clientPort, MetricsPort: given(o.metricsPort),
		NoMonitor: &o.noMonitor, System: o.system,
	}
	if o.head {
		p.Port = &o.port
	}
	return p
}

func (o *startOptions) takeHookParams(p hookParams) {
	o.numCPUs, o.numGPUs, o.memory, o.objectStore, o.resources, o.labels = p.NumCPUs, p.NumGPUs, p.Memory, p.ObjectStore, p.Resources, p.Labels
	o.address, o.nodeIP, o.nodeName, o.tempDir = orZero(p.GCSAddress), orZero(p.NodeIP), orZero(p.NodeName), orZero(p.TempDir)
	o.spillDir, o.storeDir, o.dashboardHost, o.autoscaling = orZero(p.SpillDir), orZero(p.StoreDir), orZero(p.DashboardHost), orZero(p.Autoscaling)
	o.includeDashboard, o.dashboardPort, o.clientPort, o.metricsPort = p.IncludeDashboard, p.DashboardPort, p.ClientPort, orZero(p.MetricsPort)
	o.noMonitor, o.system = orZero(p.NoMonitor), p.System
	if o.head {
		o.port = orZero(p.Port)
		o.address = "" // a hook may look at it; a head joins nothing
	}
}

// given is nil for what was not given.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
