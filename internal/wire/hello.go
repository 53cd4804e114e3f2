package wire

import (
	"encoding/json"

	"ray/internal/spec"
)

// ProtocolVersion is the number in HELLO; both sides must have the same.
const ProtocolVersion = 1

// Hello is what a client says first on each of its two connections.
type Hello struct {
	Proto     int       `json:"proto"`
	Version   string    `json:"version"`
	Role      string    `json:"role"` // "driver", "worker" or "observer"
	Conn      string    `json:"conn"` // "data" or "control"
	Python    string    `json:"python"`
	PID       int       `json:"pid"`
	ClientID  string    `json:"client_id,omitempty"`
	ClusterID string    `json:"cluster_id,omitempty"` // the cluster that the client expects
	Token     string    `json:"token,omitempty"`
	Job       *HelloJob `json:"job,omitempty"`
}

// Stack says what the threads of one process do: the answer to an observer's
// call "stacks" is a list of them.
type Stack struct {
	PID     int    `json:"pid"`
	Kind    string `json:"kind"` // "driver" or "worker"
	ID      string `json:"id"`
	IP      string `json:"ip"`
	Text    string `json:"text,omitempty"`
	Problem string `json:"problem,omitempty"` // why there is no text, or how it was got
}

// HelloJob describes a driver's job.
type HelloJob struct {
	Entrypoint   string            `json:"entrypoint,omitempty"`
	Namespace    string            `json:"namespace,omitempty"`
	RuntimeEnv   json.RawMessage   `json:"runtime_env,omitempty"`
	SysPath      []string          `json:"sys_path,omitempty"`
	CWD          string            `json:"cwd,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	SubmissionID string            `json:"submission_id,omitempty"`
	LogToDriver  bool              `json:"log_to_driver"`
	Name         string            `json:"name,omitempty"`
	Executable   string            `json:"executable,omitempty"`
}

// HelloOK answers Hello.
type HelloOK struct {
	Proto        int               `json:"proto"`
	Version      string            `json:"version"`
	ClientID     string            `json:"client_id"`
	JobID        spec.JobID        `json:"job_id"`
	Process      uint32            `json:"process"`
	NodeID       spec.NodeID       `json:"node_id"`
	NodeIP       string            `json:"node_ip"`
	NodeName     string            `json:"node_name"`
	SessionDir   string            `json:"session_dir"`
	SessionName  string            `json:"session_name"`
	TempDir      string            `json:"temp_dir"`
	ClusterID    string            `json:"cluster_id"`
	GCSAddress   string            `json:"gcs_address"`
	DashboardURL string            `json:"dashboard_url"`
	MetricsPort  int               `json:"metrics_port"`
	Namespace    string            `json:"namespace"`
	Arena        *ArenaInfo        `json:"arena,omitempty"` // absent for remote drivers
	InlineLimit  int               `json:"inline_limit"`
	RecordSites  bool              `json:"record_sites,omitempty"` // where references are made is to be told
	Labels       map[string]string `json:"labels,omitempty"`
	HeadPython   string            `json:"head_python,omitempty"`
	Job          *HelloJob         `json:"job,omitempty"` // the driver's, for workers
	Config       json.RawMessage   `json:"config,omitempty"`
}

// ArenaInfo tells a client the arena's size in bytes and the offset of its
// own 64-byte slot.
type ArenaInfo struct {
	Size int64 `json:"size"`
	Slot int64 `json:"slot"`
}

// Lease is the body of LEASE; it holds for the EXECs that follow.
type Lease struct {
	Epoch           uint32              `json:"epoch"`
	Resources       spec.Resources      `json:"resources"`
	Devices         map[string][]string `json:"devices,omitempty"`      // family → ids, as spec.DeviceFamilies
	GPUVariable     string              `json:"gpu_variable,omitempty"` // "" is CUDA_VISIBLE_DEVICES
	PlacementGroup  string              `json:"placement_group,omitempty"`
	CaptureChildren bool                `json:"capture_children"`
}

// LogBatch is one element of the list in LOG.
type LogBatch struct {
	Stream string   `json:"stream"` // "out" or "err"
	PID    int      `json:"pid"`
	IP     string   `json:"ip"`
	Name   string   `json:"name"`
	Kind   string   `json:"kind"` // worker, raylet, autoscaler, error
	Lines  []string `json:"lines"`
}

// Exit is the body of EXIT.
type Exit struct {
	Reason   string `json:"reason"`
	Graceful bool   `json:"graceful"`
}
