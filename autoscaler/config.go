package autoscaler

import (
	"maps"
	"math"
	"slices"
	"time"

	"ray/internal/spec"
)

// NodeType is one kind of machine that may be launched.
type NodeType struct {
	Resources spec.Resources    `json:"resources"`
	Labels    map[string]string `json:"labels,omitempty"`
	Min       int               `json:"min_workers"`
	Max       int               `json:"max_workers"`
	// IdleTimeout overrides Config.IdleTimeout when it is not nil.
	IdleTimeout *time.Duration `json:"idle_timeout,omitempty"`
	// Price in US dollars per hour, 0 if it costs nothing or is unknown. It
	// breaks ties between types that match the demand equally well.
	Price float64 `json:"price,omitempty"`
	// Unpriced: nobody knows the price. Under a budget such a type is not
	// launched, since the budget could not be kept.
	Unpriced bool `json:"unpriced,omitempty"`
	// Priority breaks ties before Price does; higher wins.
	Priority int `json:"priority,omitempty"`
	// LaunchHash changes when machines of this type must be launched in
	// another way. A machine with another, non-empty hash is outdated.
	LaunchHash string `json:"launch_hash,omitempty"`
	// RuntimeHash changes when nodes of this type must be set up in another way:
	// other files, other commands.
	RuntimeHash string `json:"runtime_hash,omitempty"`
	// Offerings are the ways to get such a machine, the preferred one first;
	// none if the provider has but one.
	Offerings []spec.Offering `json:"offerings,omitempty"`
}

// Config is the part of the cluster file that planning needs.
type Config struct {
	NodeTypes map[string]NodeType `json:"node_types"`
	HeadType  string              `json:"head_type,omitempty"`
	// MaxWorkers bounds all workers together; the head is not counted.
	MaxWorkers int `json:"max_workers"`
	// MaxCost bounds what all machines together, the head included, may cost
	// by the hour; nil means no bound.
	MaxCost *float64 `json:"max_cost_per_hour,omitempty"`
	// UpscalingSpeed s lets max(5, ceil(s × running)) machines of a type be
	// on their way at a time. Unlimited means no such bound.
	UpscalingSpeed float64 `json:"upscaling_speed"`
	// IdleTimeout is how long a worker is idle before it leaves; negative
	// means that it stays.
	IdleTimeout time.Duration `json:"idle_timeout"`
	// SpendGPU lets nodes with GPUs be launched for what needs none even where
	// others would do.
	SpendGPU bool `json:"spend_gpu,omitempty"`
	// AutoStop is nil for a cluster that is not ended by itself.
	AutoStop *AutoStop `json:"auto_stop,omitempty"`
	// Consolidate lets half-empty nodes go where fewer or cheaper ones do.
	Consolidate bool `json:"consolidate,omitempty"`
	// MaxDisrupted is how many nodes may be changed at one time when the file
	// has changed, or by consolidation; 0 is a quarter of them, at least one.
	MaxDisrupted int `json:"max_disrupted_workers,omitempty"`
}

// Unlimited is the UpscalingSpeed that never holds a launch back.
var Unlimited = math.Inf(1)

// minInFlight is how many machines of one type may always be on their way,
// whatever the upscaling speed is, so that small clusters start quickly.
const minInFlight = 5

// typeNames are the configured types, sorted.
func (c *Config) typeNames() []string { return slices.Sorted(maps.Keys(c.NodeTypes)) }

// idleTimeout is the timeout of one type and whether there is any.
func (c *Config) idleTimeout(nodeType string) (time.Duration, bool) {
	timeout := c.IdleTimeout
	if t, ok := c.NodeTypes[nodeType]; ok && t.IdleTimeout != nil {
		timeout = *t.IdleTimeout
	}
	return timeout, timeout >= 0
}

// inFlightLimit is how many machines of a type may be on their way while
// running of them serve.
func (c *Config) inFlightLimit(running int) int {
	if math.IsInf(c.UpscalingSpeed, 1) {
		return math.MaxInt32
	}
	return max(minInFlight, int(math.Ceil(c.UpscalingSpeed*float64(max(running, 1)))))
}
