package node

import (
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"ray/internal/spec"
)

// Config says what one daemon is. The caller (the hidden verb of cmd/ray)
// fills it in completely: ports that are 0 are chosen by the daemon, all other
// zero values mean what the comment says. It travels as JSON.
type Config struct {
	// Head marks the head machine's daemon: it also starts the head process.
	Head bool `json:"head,omitempty"`
	// HeadAddress is the host:port of the head's TLS port. On the head machine
	// the port must be concrete: the head process is restarted on the same one.
	HeadAddress string `json:"head_address"`
	// HeadCommand is the command line of the head process; empty means
	// [<this binary>, "__head", "--config", <SessionDir>/head.json].
	HeadCommand []string `json:"head_command,omitempty"`
	// HeadConfig, if not empty, is written to <SessionDir>/head.json (0600)
	// before the head is started. Opaque to the daemon.
	HeadConfig json.RawMessage `json:"head_config,omitempty"`

	NodeIP   string `json:"node_ip"`             // address that other machines reach us at
	NodeName string `json:"node_name,omitempty"` // empty: NodeIP
	BindHost string `json:"bind_host,omitempty"` // empty: NodeIP
	NodePort int    `json:"node_port,omitempty"` // TLS port of this daemon; any free one if 0 or in use
	// ClientServerPort is for ray:// drivers alone, on loopback and ClientServerHost;
	// 0 means none, -1 any port.
	ClientServerPort int    `json:"client_server_port,omitempty"`
	ClientServerHost string `json:"client_server_host,omitempty"`
	MetricsPort      int    `json:"metrics_port,omitempty"` // 0: none
	DashboardHost    string `json:"dashboard_host,omitempty"`
	DashboardPort    int    `json:"dashboard_port,omitempty"`

	// Resources is the node's whole offer. CPU is the machine's count if it is
	// missing; memory, object_store_memory and node:<ip> are filled in.
	Resources spec.Resources    `json:"resources,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	// ObjectStoreBytes is the arena's size; 0 means 30 % of memory.
	ObjectStoreBytes int64  `json:"object_store_bytes,omitempty"`
	JoinSeconds      int    `json:"join_seconds,omitempty"` // how long to try to reach the head; 0: 60
	StoreDir         string `json:"store_dir,omitempty"`    // the store is a file there; empty: in memory
	SpillDir         string `json:"spill_dir,omitempty"`    // objects go to a directory below it; empty: SessionDir
	Instance         string `json:"instance,omitempty"`     // cloud instance id
	NodeType         string `json:"node_type,omitempty"`    // node type of the cluster YAML
	AutoscalingFile  string `json:"autoscaling_file,omitempty"`

	TmpDir      string `json:"tmp_dir"`     // RAY_TMPDIR
	SessionDir  string `json:"session_dir"` // made by the caller; logs/ inside
	SessionName string `json:"session_name"`
	// Socket is the Unix socket for clients; empty: <user root>/<8 hex>/node.sock.
	Socket string `json:"socket,omitempty"`
	// PackageDir is the directory that holds the `ray` Python package.
	PackageDir string `json:"package_dir"`
	// Pythons are interpreters that may run workers, best first.
	Pythons []string `json:"pythons,omitempty"`
	// Token is the cluster's token; empty only with AuthDisabled.
	Token        string `json:"token,omitempty"`
	TokenPath    string `json:"token_path,omitempty"` // told to clients in the announcement
	AuthDisabled bool   `json:"auth_disabled,omitempty"`
	ClusterName  string `json:"cluster_name,omitempty"`

	// OwnerPID is a driver whose end is the cluster's end (ray.init()); 0 means none.
	// OwnerFD, if above 2, is a pipe from it: end of file is its end.
	OwnerPID int `json:"owner_pid,omitempty"`
	OwnerFD  int `json:"owner_fd,omitempty"`

	// GPUVariable names the GPUs that a process may use; "" is CUDA_VISIBLE_DEVICES.
	GPUVariable string `json:"gpu_variable,omitempty"`
	// GPUIDs are the names of the GPUs in GPUVariable, one each; those
	// beyond its end are named by their number.
	GPUIDs []string `json:"gpu_ids,omitempty"`

	// LogLevel of the daemon's own log: debug, info, warn or error.
	LogLevel string `json:"log_level,omitempty"`
	// System holds upstream's _system_config keys; unknown ones are ignored.
	System map[string]json.RawMessage `json:"system,omitempty"`

	// Announce is called once the daemon serves clients, and again when
	// something in it changed. It writes the session file. May be nil.
	Announce func(Announcement) error `json:"-"`
	// Retract is called when the daemon ends. May be nil.
	Retract func(spec.NodeID) `json:"-"`
	Log     *slog.Logger      `json:"-"` // nil: slog.Default
}

// Announcement is what a running daemon tells the machine about itself; the
// fields are those of a session file (docs/PROTOCOL.md section 6) that only
// the daemon knows.
type Announcement struct {
	ClusterID      string
	ClusterName    string
	NodeID         spec.NodeID
	NodeIP         string
	Head           bool
	Address        string // of the head
	NodeAddress    string // of this daemon
	Socket         string
	SessionDir     string
	SessionName    string
	TmpDir         string
	Dashboard      string
	MetricsAddress string
	TokenPath      string
	JobOwner       int
}

// Timings that are not worth a flag.
const (
	maxUnread      = 1 << 20 // beyond it pushes to a client are dropped
	tickEvery      = 5 * time.Millisecond
	placesEvery    = 20 * time.Millisecond
	heartbeatFloor = 10 * time.Millisecond
	heartbeatCeil  = time.Second
	driverSilence  = 5 * time.Minute // a ray:// driver that was stopped for longer loses its connection
)

func (c *Config) check() error {
	switch {
	case c.HeadAddress == "":
		return errors.New("node: config has no head_address: give the host:port of the head")
	case c.SessionDir == "":
		return errors.New("node: config has no session_dir")
	case c.PackageDir == "":
		return errors.New("node: config has no package_dir: workers could not import ray")
	case c.NodeIP == "":
		return errors.New("node: config has no node_ip")
	case c.Token == "" && !c.AuthDisabled:
		return errors.New("node: config has no token and authentication is not disabled")
	}
	return nil
}
