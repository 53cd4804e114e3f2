package head

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// Config is everything that one head process must know. The node daemon of
// the head machine writes it as a JSON file (0600) for `ray __head`, and
// keeps it, so that a restarted head comes back with the same identity. Ports
// that were 0 are known from the ReadyFile afterwards: the daemon writes them
// back into the file before it starts the head again.
type Config struct {
	// ClusterID names the cluster for ever; "" lets the head make one, or
	// take the one that the store holds, which always wins.
	ClusterID   string `json:"cluster_id,omitempty"`
	ClusterName string `json:"cluster_name,omitempty"`
	SessionName string `json:"session_name"`
	SessionDir  string `json:"session_dir"`
	TempDir     string `json:"temp_dir,omitempty"`

	// ListenHost is the address to bind for nodes: an IP, or "" for 127.0.0.1.
	ListenHost string `json:"listen_host,omitempty"`
	// AdvertiseIP is the address that other machines reach the head by; "" =
	// ListenHost, or 127.0.0.1 if that is no single address.
	AdvertiseIP string `json:"advertise_ip,omitempty"`
	// Port is the TLS port for nodes; 0 = any free one.
	Port int `json:"port"`

	// NoDashboard leaves the HTTP server (job API, state API, page) out.
	NoDashboard   bool   `json:"no_dashboard,omitempty"`
	DashboardHost string `json:"dashboard_host,omitempty"` // "" = 127.0.0.1
	// DashboardPort is the first HTTP port to try; 0 = 8265. If it is taken
	// the next free one is used, unless DashboardPortExplicit.
	DashboardPort         int  `json:"dashboard_port,omitempty"`
	DashboardPortExplicit bool `json:"dashboard_port_explicit,omitempty"`

	// TokenPath is the file with the cluster's token; "" = as in
	// docs/PROTOCOL.md section 5 (RAY_AUTH_TOKEN and so on).
	TokenPath string `json:"token_path,omitempty"`
	// AuthDisabled is RAY_AUTH_MODE=disabled: no token, loopback only.
	AuthDisabled bool `json:"auth_disabled,omitempty"`

	// StorePath is the file of the durable store; "" keeps the state in memory only.
	StorePath string `json:"store_path,omitempty"`

	// AutoscalingConfig is the path of a cluster YAML; "" = no autoscaler.
	AutoscalingConfig string `json:"autoscaling_config,omitempty"`
	// RayBinary is the executable that launched workers run; "" = this one.
	RayBinary string `json:"ray_binary,omitempty"`

	// ReadyFile is written (atomically, as JSON of Ready) once the head
	// serves; "" = none.
	ReadyFile string `json:"ready_file,omitempty"`
	// NodeConfig is passed on to every node unread (RegisterReply.Config).
	NodeConfig json.RawMessage `json:"node_config,omitempty"`

	// LeaseMS is a node's lease; 0 = 10,000. Tests shorten it.
	LeaseMS int64 `json:"lease_ms,omitempty"`

	// GroupPatienceMS is how long a placement group that no node could ever
	// hold, and that no autoscaler can help, is waited for before what waits in
	// it fails; 0 = 300,000, below 0 = for ever.
	GroupPatienceMS int64 `json:"group_patience_ms,omitempty"`

	// KeptActors is how many actors that have ended stay listed; 0 = 10,000.
	KeptActors int `json:"kept_actors,omitempty"`

	// Log is where the head writes; nil = slog.Default().
	Log *slog.Logger `json:"-"`
	// OnReady is called once the head serves; nil = nothing.
	OnReady func(Ready) `json:"-"`
}

// Ready says where a head serves.
type Ready struct {
	Address     string `json:"address"`             // host:port for nodes
	Port        int    `json:"port"`                // of Address
	Dashboard   string `json:"dashboard,omitempty"` // host:port
	ClusterID   string `json:"cluster_id"`
	SessionName string `json:"session_name"`
	PID         int    `json:"pid"`
}

// ReadConfig reads the file that `ray __head --config` names.
func ReadConfig(path string) (Config, error) {
	var c Config
	text, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("head configuration: %w", err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("head configuration %s: %w", path, err)
	}
	return c, nil
}

// writeReady puts the ready file in place in one step, so that a reader never
// sees half of it.
func writeReady(path string, r Ready) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ready-*")
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	_, err = tmp.Write(text)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}
