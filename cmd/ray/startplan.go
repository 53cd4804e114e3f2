package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ray/internal/head"
	"ray/internal/session"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node"
	"ray/node/machine"
)

// startPlan is what a start will do, decided before any process runs.
type startPlan struct {
	dir       session.Dir
	node      node.Config
	tokenMade string // file of a token that was made now, "" otherwise
	notes     []string
}

// planStart checks the options against this machine and makes the session
// directory: the last step, so that a refused start leaves nothing.
func planStart(o *startOptions) (*startPlan, error) {
	if err := o.applyEnvironment(); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	p := &startPlan{}
	c := &p.node
	c.Head, c.System = o.head, o.system
	if err := c.CheckSystem(); err != nil {
		return nil, usagef("%w", err)
	}
	auth, err := wire.LoadToken()
	missing := noToken(err)
	// Only a head may make a token: a joining node with one of its own could
	// never be right.
	if err != nil && (!missing || !o.head) {
		return nil, err
	}
	c.AuthDisabled, c.TokenPath = auth.Disabled, auth.Path
	if err := p.places(o); err != nil {
		return nil, err
	}
	p.nodePort(o)
	if missing {
		if auth, err = ensureToken(); err != nil {
			return nil, err
		}
		c.TokenPath, p.tokenMade = auth.Path, auth.Path
	}
	if err := p.offer(o); err != nil {
		return nil, err
	}
	c.Pythons = pythons(o.python)
	if len(c.Pythons) == 0 {
		return nil, errors.New("no Python 3 found to run workers with: install python3, or name one by --python or RAY_PYTHON")
	}
	c.OwnerPID, c.MetricsPort = o.ownerPID, o.metricsPort
	c.Instance, c.NodeType = os.Getenv("RAY_CLOUD_INSTANCE_ID"), os.Getenv("RAY_NODE_TYPE_NAME")
	c.ClusterName = os.Getenv("RAY_CLUSTER_NAME")
	if err := p.session(o); err != nil {
		return nil, err
	}
	if o.head {
		return p, p.headConfig(o)
	}
	return p, nil
}

// places decides the addresses and ports.
func (p *startPlan) places(o *startOptions) error {
	c := &p.node
	if !o.head {
		address, err := joinAddress(o.address)
		if err != nil {
			return err
		}
		c.HeadAddress, c.JoinSeconds = address, int(joinPatience().Seconds())
		host, _, _ := net.SplitHostPort(address)
		c.NodeIP = nodeIP(o.nodeIP, host, c.AuthDisabled)
		return p.clientServer(o)
	}
	c.NodeIP = nodeIP(o.nodeIP, "", c.AuthDisabled || o.local)
	port := o.port
	if port == 0 {
		var err error
		if port, err = freePort(c.NodeIP); err != nil {
			return err
		}
	} else if err := checkPort(c.NodeIP, port, "--port"); err != nil {
		return err
	}
	c.HeadAddress = net.JoinHostPort(c.NodeIP, strconv.Itoa(port))
	if o.dashboardPort != nil && *o.dashboardPort > 0 && (o.includeDashboard == nil || *o.includeDashboard) {
		if err := checkPort(loopbackName(o.dashboardHost), *o.dashboardPort, "--dashboard-port"); err != nil {
			return err
		}
	}
	return p.clientServer(o)
}

// loopbackName is the address behind the usual name of this machine.
func loopbackName(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	return host
}

// clientServer decides about the extra port for ray:// drivers.
func (p *startPlan) clientServer(o *startOptions) error {
	const usual = 10001
	c := &p.node
	switch {
	case o.clientPort != nil && *o.clientPort > 0:
		for _, host := range []string{c.NodeIP, "127.0.0.1"} {
			if err := checkPort(host, *o.clientPort, "--ray-client-server-port"); err != nil {
				return err
			}
		}
		c.ClientServerPort, c.ClientServerHost = *o.clientPort, c.NodeIP
	case o.clientPort != nil || !o.head || o.local:
		// none wanted
	case checkPort("127.0.0.1", usual, "") == nil:
		c.ClientServerPort = usual
	default:
		p.notes = append(p.notes, fmt.Sprintf("Port %d is in use: ray:// drivers connect to this node's own port instead.", usual))
	}
	return nil
}

// offer fills in resources and labels; what is left out is found by the daemon.
func (p *startPlan) offer(o *startOptions) error {
	c := &p.node
	amounts := map[string]float64{}
	for name, amount := range o.resources {
		amounts[name] = amount
	}
	if o.numCPUs != nil {
		amounts["CPU"] = *o.numCPUs
	}
	if o.memory != nil {
		amounts["memory"] = *o.memory
	}
	found, err := machine.FindGPUs(context.Background())
	if err != nil {
		return err
	}
	variable := cmp.Or(found.Variable, spec.CUDAVisible)
	if o.numGPUs != nil {
		amounts["GPU"] = *o.numGPUs
	} else if found.Count > 0 {
		amounts["GPU"] = float64(found.Count)
	}
	if found.Count > 0 && amounts["GPU"] > 0 {
		if found.Type != "" {
			amounts["accelerator_type:"+found.Type] = 1
		}
		c.GPUIDs = found.IDs
	} else if ids, limited := machine.VisibleGPUs(variable); limited {
		c.GPUIDs = ids // of devices whose driver is not seen here
	}
	// None at all is what a worker without GPUs has: a node that it starts may pretend to have some.
	if ids, _ := machine.VisibleGPUs(variable); len(ids) > 0 && amounts["GPU"] > float64(len(ids)) {
		return fmt.Errorf("cannot start a node with %v GPUs: %s names %d (%s). Ask for fewer, or change it",
			amounts["GPU"], variable, len(ids), strings.Join(ids, ","))
	}
	if variable != spec.CUDAVisible {
		c.GPUVariable = variable
	}
	c.Resources, c.Labels, c.NodeName = spec.FromFloats(amounts), o.labels, o.nodeName
	for name, amount := range amounts {
		if amount == 0 {
			c.Resources[name] = 0 // declared to be none: the daemon does not look for it
		}
	}
	if o.objectStore != nil {
		c.ObjectStoreBytes = int64(*o.objectStore)
	}
	return nil
}

// session makes the session directory.
func (p *startPlan) session(o *startOptions) error {
	c := &p.node
	root := o.tempDir
	if root == "" {
		root = session.TempDir()
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	if p.dir, err = session.NewDir(root, time.Now(), os.Getpid()); err != nil {
		return err
	}
	c.TmpDir, c.SessionDir, c.SessionName, c.SpillDir, c.StoreDir = root, p.dir.Path, p.dir.Name, o.spillDir, o.storeDir
	return nil
}

// nodeConfig is what the head tells every node of the cluster's settings.
func nodeConfig(o *startOptions) (json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	maps.Copy(all, o.system)
	if !o.reconstruct {
		all["enable_object_reconstruction"] = json.RawMessage("false")
	}
	if len(all) == 0 {
		return nil, nil
	}
	return json.Marshal(all)
}

// headConfig writes what the head process will be told.
func (p *startPlan) headConfig(o *startOptions) error {
	c := &p.node
	host, portText, err := net.SplitHostPort(c.HeadAddress)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's file: %w", err)
	}
	h := head.Config{
		ClusterName: c.ClusterName, SessionName: c.SessionName, SessionDir: c.SessionDir, TempDir: c.TmpDir,
		ListenHost: host, AdvertiseIP: c.NodeIP, Port: port,
		DashboardHost: o.dashboardHost, TokenPath: c.TokenPath, AuthDisabled: c.AuthDisabled,
		AutoscalingConfig: o.autoscaling, RayBinary: self,
	}
	if o.autoscaling != "" {
		if h.AutoscalingConfig, err = filepath.Abs(o.autoscaling); err != nil {
			return err
		}
	}
	if h.NodeConfig, err = nodeConfig(o); err != nil {
		return err
	}
	if o.includeDashboard != nil {
		h.NoDashboard = !*o.includeDashboard
	}
	switch {
	case o.dashboardPort == nil:
	case *o.dashboardPort > 0:
		h.DashboardPort, h.DashboardPortExplicit = *o.dashboardPort, true
	case !h.NoDashboard: // any: chosen here, so that a head that is started again has the same
		if h.DashboardPort, err = freePort(cmp.Or(loopbackName(o.dashboardHost), "127.0.0.1")); err != nil {
			return err
		}
	}
	if !o.local {
		h.StorePath = filepath.Join(c.SessionDir, "gcs.db")
	}
	if err := limits(c, &h, o.local); err != nil {
		return err
	}
	c.DashboardHost, c.DashboardPort = h.DashboardHost, h.DashboardPort
	c.HeadConfig, err = json.Marshal(h)
	return err
}

// localPatience is for the cluster of one driver, which no node can join by hand.
const localPatience = 20 * time.Second

// limits reads what may be set of the head's bounds: RAY_node_lease_ms,
// RAY_infeasible_group_timeout_s and RAY_maximum_gcs_destroyed_actor_cached_count,
// or the same keys of _system_config.
func limits(c *node.Config, h *head.Config, local bool) error {
	lease, err := c.SystemNumber("node_lease_ms", 0)
	if err != nil {
		return err
	}
	if lease != 0 && lease < 1000 {
		return fmt.Errorf("node_lease_ms is %v: a lease of less than 1000 ms ends nodes that are only busy", lease)
	}
	h.LeaseMS = int64(lease)
	usual := 0.0
	if local {
		usual = localPatience.Seconds()
	}
	patience, err := c.SystemNumber("infeasible_group_timeout_s", usual)
	if err != nil {
		return err
	}
	h.GroupPatienceMS = int64(patience * 1000)
	kept, err := c.SystemNumber("maximum_gcs_destroyed_actor_cached_count", 0)
	h.KeptActors = int(kept)
	return err
}
