package gcs

import (
	"encoding/json"
	"fmt"

	"ray/internal/spec"
)

// Names of the stored tables.
const (
	tableMeta     = "meta"
	tableKV       = "kv"
	tableJobs     = "jobs"
	tableActors   = "actors"
	tableStored   = "actor_specs" // creation specs of detached actors
	tableGroups   = "placement_groups"
	tableNodes    = "nodes"
	tablePackages = "packages"
	tableMachines = "instances"
)

// How many rows of what has ended are kept for people to look at.
const (
	keptActors = 10_000
	keptGroups = 1_000
	keptNodes  = 1_000
	keptJobs   = 1_000
)

// Tables is the control state of one cluster. It is not safe for concurrent
// use: the head holds one lock around it.
type Tables struct {
	// KeptActors is how many actors that have ended stay listed.
	KeptActors int

	meta          meta
	kv            map[string]map[string][]byte // namespace → key → value
	jobs          map[string]*spec.Job         // by submission id, or job id of a driver
	actors        map[spec.ActorID]*Actor
	wanting       map[spec.ActorID]bool // those of actors that wait for a place
	names         map[nameKey]spec.ActorID
	groups        map[spec.PlacementGroupID]*Group
	living        map[spec.PlacementGroupID]bool // groups that are not removed
	unplaced      map[spec.PlacementGroupID]bool // groups that want places
	changedGroups map[spec.PlacementGroupID]bool // since they were taken last
	nodes         map[spec.NodeID]*spec.Node
	packages      map[string]uploaded // by URI
	machines      []byte              // the autoscaler's table, its own format

	// watch holds, for each actor, the nodes that are told of its changes.
	watch map[spec.ActorID]map[spec.NodeID]bool
	// claims are actors that a node reported as living on it after a restart
	// of the head, before the owner has told what they are.
	claims map[spec.ActorID]claim

	endedActors ring[spec.ActorID]
	endedGroups ring[spec.PlacementGroupID]
	endedNodes  ring[spec.NodeID]
	endedJobs   ring[string]
}

// meta is what is not a list.
type meta struct {
	ClusterID   string        `json:"cluster_id"`
	NextJob     uint32        `json:"next_job"`
	NextProcess uint32        `json:"next_process"`
	Constraints []spec.Demand `json:"constraints,omitempty"` // request_resources
}

// Change is what follows from one change of the tables: rows to write, whether
// the answer must wait until they are stored, and what to tell whom.
type Change struct {
	Writes  []Write
	Sync    bool
	Effects []Effect
}

// Merge adds what follows from a further change.
func (c *Change) Merge(o Change) {
	c.Writes = append(c.Writes, o.Writes...)
	c.Sync = c.Sync || o.Sync
	c.Effects = append(c.Effects, o.Effects...)
}

func (c *Change) effect(e ...Effect) { c.Effects = append(c.Effects, e...) }

func (c *Change) putJSON(table, key string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		// Rows are made of plain values; only a RawMessage from outside can fail.
		panic(fmt.Sprintf("row %s of table %s: %v", key, table, err))
	}
	c.Writes = append(c.Writes, Write{table, key, text})
}

func (c *Change) remove(table, key string) {
	c.Writes = append(c.Writes, Write{Table: table, Key: key})
}

// New makes empty tables.
func New() *Tables {
	return &Tables{
		KeptActors: keptActors,

		meta:     meta{NextJob: 1, NextProcess: 1},
		kv:       map[string]map[string][]byte{},
		jobs:     map[string]*spec.Job{},
		actors:   map[spec.ActorID]*Actor{},
		wanting:  map[spec.ActorID]bool{},
		names:    map[nameKey]spec.ActorID{},
		groups:   map[spec.PlacementGroupID]*Group{},
		living:   map[spec.PlacementGroupID]bool{},
		unplaced: map[spec.PlacementGroupID]bool{}, changedGroups: map[spec.PlacementGroupID]bool{},
		nodes:    map[spec.NodeID]*spec.Node{},
		packages: map[string]uploaded{},
		watch:    map[spec.ActorID]map[spec.NodeID]bool{},
		claims:   map[spec.ActorID]claim{},
	}
}

// ClusterID is "" until SetClusterID.
func (t *Tables) ClusterID() string { return t.meta.ClusterID }

// SetClusterID names the cluster for ever.
func (t *Tables) SetClusterID(id string) Change {
	t.meta.ClusterID = id
	return t.metaChange()
}

func (t *Tables) metaChange() Change {
	c := Change{Sync: true}
	c.putJSON(tableMeta, "meta", t.meta)
	return c
}

// ProcessBlock leases count process numbers, which nobody else ever gets.
func (t *Tables) ProcessBlock(count uint32) (start uint32, c Change) {
	start = t.meta.NextProcess
	t.meta.NextProcess += count
	return start, t.metaChange()
}

// SetConstraints replaces what request_resources asked for.
func (t *Tables) SetConstraints(d []spec.Demand) Change {
	t.meta.Constraints = d
	return t.metaChange()
}

// Constraints is the last request_resources.
func (t *Tables) Constraints() []spec.Demand { return t.meta.Constraints }

// SetMachines stores the autoscaler's table.
func (t *Tables) SetMachines(text []byte) Change {
	t.machines = text
	return Change{Sync: true, Writes: []Write{{tableMachines, "table", text}}}
}

// Machines is the autoscaler's table, nil if there is none.
func (t *Tables) Machines() []byte { return t.machines }

// ring remembers the last n keys added and gives back what falls out.
type ring[K comparable] struct{ keys []K }

func (r *ring[K]) add(k K, n int) (old K, full bool) {
	r.keys = append(r.keys, k)
	return r.excess(n)
}

// excess takes out the oldest key if there are more than n.
func (r *ring[K]) excess(n int) (old K, full bool) {
	if len(r.keys) <= n {
		return old, false
	}
	old = r.keys[0]
	r.keys = r.keys[1:]
	return old, true
}
