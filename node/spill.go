package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"ray/internal/objectstore"
)

// spillPrefix begins the names of the directories that nodes spill to.
const spillPrefix = "ray_spilled_objects_"

// system is the value of one of upstream's configuration keys: from
// _system_config, else from the environment; nil if it is not set.
func (c *Config) system(key string) json.RawMessage {
	if v, ok := c.System[key]; ok {
		return v
	}
	v, ok := os.LookupEnv("RAY_" + key)
	if !ok {
		return nil
	}
	if json.Valid([]byte(v)) {
		return json.RawMessage(v)
	}
	text, _ := json.Marshal(v) // a string always encodes
	return text
}

// gpuNames are the names of devices that the pool knows by number.
func (c *Config) gpuNames(numbers []string) []string {
	out := slices.Clone(numbers)
	for i, text := range out {
		if n, err := strconv.Atoi(text); err == nil && n < len(c.GPUIDs) {
			out[i] = c.GPUIDs[n]
		}
	}
	return out
}

// SystemNumber and systemBool read keys of upstream's _system_config, or of the
// environment as RAY_<key>; values may be written as strings.
func (c *Config) SystemNumber(key string, otherwise float64) (float64, error) {
	text := c.system(key)
	if text == nil {
		return otherwise, nil
	}
	var s string
	if json.Unmarshal(text, &s) == nil {
		text = json.RawMessage(s)
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return 0, fmt.Errorf("_system_config: %s must be a number, not %s", key, text)
	}
	return v, nil
}

func (c *Config) systemBool(key string, otherwise bool) (bool, error) {
	text := c.system(key)
	if text == nil {
		return otherwise, nil
	}
	var s string
	if json.Unmarshal(text, &s) == nil {
		text = json.RawMessage(s)
	}
	v, err := strconv.ParseBool(string(text))
	if err != nil {
		return false, fmt.Errorf("_system_config: %s must be true or false, not %s", key, text)
	}
	return v, nil
}

// pathList is one path or a list of them.
type pathList []string

// UnmarshalJSON accepts a string or a list of strings.
func (p *pathList) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*p = pathList{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(p))
}

// spillParents are the directories under which this node may spill.
func (c *Config) spillParents() ([]string, error) {
	text := c.system("object_spilling_config")
	var inner string
	if json.Unmarshal(text, &inner) == nil {
		text = json.RawMessage(inner) // it is a JSON text inside the JSON
	}
	if len(text) == 0 || string(text) == "null" {
		if c.SpillDir != "" {
			return []string{c.SpillDir}, nil
		}
		return []string{c.SessionDir}, nil
	}
	var in struct {
		Type   string `json:"type"`
		Params struct {
			DirectoryPath pathList `json:"directory_path"`
		} `json:"params"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("object_spilling_config is not valid: %w", err)
	}
	switch {
	case in.Type != "filesystem":
		return nil, fmt.Errorf("not supported yet: object_spilling_config of type %q; use {\"type\": \"filesystem\", \"params\": {\"directory_path\": …}}", in.Type)
	case len(in.Params.DirectoryPath) == 0:
		return nil, fmt.Errorf("object_spilling_config has no params.directory_path")
	}
	return in.Params.DirectoryPath, nil
}

// remakes tells whether lost objects are made again: this node's own setting,
// else the cluster's.
func (d *daemon) remakes() (bool, error) {
	all := Config{System: map[string]json.RawMessage{}}
	if len(d.cluster.Config) > 0 {
		if err := json.Unmarshal(d.cluster.Config, &all.System); err != nil {
			return true, fmt.Errorf("the cluster's configuration cannot be read: %w", err)
		}
	}
	on := true
	for _, c := range []*Config{&all, &d.cfg} {
		for _, key := range []string{"enable_object_reconstruction", "lineage_pinning_enabled"} {
			var err error
			if on, err = c.systemBool(key, on); err != nil {
				return true, err
			}
		}
	}
	return on, nil
}

// storeConfig is the object store's part of the configuration.
func (d *daemon) storeConfig() (objectstore.Config, error) {
	out := objectstore.Config{Capacity: uint64(d.cfg.ObjectStoreBytes), OnEvict: d.onEvict, Log: d.log}
	parents, err := d.cfg.spillParents()
	if err != nil {
		return out, err
	}
	for _, p := range parents {
		objectstore.RemoveStale(p, spillPrefix)
		out.SpillDirs = append(out.SpillDirs, filepath.Join(p, spillPrefix+d.self.String()))
	}
	if out.DiskThreshold, err = d.cfg.SystemNumber("local_fs_capacity_threshold", 0.95); err != nil {
		return out, err
	}
	// At most nothing, not the store's own default.
	out.DiskThreshold = max(out.DiskThreshold, 1e-9)
	spills, err := d.cfg.systemBool("automatic_object_spilling_enabled", true)
	out.NoSpill = !spills
	return out, err
}
