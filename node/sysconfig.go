package node

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"

	"ray/internal/spec"
	"ray/internal/wire"
)

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

// deviceNames gives GPUs, which the pool knows by number, their own names.
func (c *Config) deviceNames(devices map[string][]string) map[string][]string {
	for i, text := range devices[spec.GPU] {
		if n, err := strconv.Atoi(text); err == nil && n < len(c.GPUIDs) {
			devices[spec.GPU][i] = c.GPUIDs[n]
		}
	}
	return devices
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

// clusterSystem are the settings of the cluster and of this node, which counts more.
func (d *daemon) clusterSystem() (*Config, error) {
	all := &Config{System: map[string]json.RawMessage{}, SessionDir: d.cfg.SessionDir, SpillDir: d.cfg.SpillDir}
	if len(d.cluster.Config) > 0 {
		if err := json.Unmarshal(d.cluster.Config, &all.System); err != nil {
			return &d.cfg, fmt.Errorf("the cluster's configuration cannot be read: %w", err)
		}
	}
	if d.cfg.SpillDir != "" {
		delete(all.System, "object_spilling_config") // this node was told otherwise
	}
	maps.Copy(all.System, d.cfg.System)
	return all, nil
}

// configure does what the settings of the cluster, known now, ask for.
func (d *daemon) configure() error {
	all, err := d.clusterSystem()
	if err == nil {
		err = d.spillAs(all)
	}
	if err == nil {
		err = d.reconstruction(all)
	}
	if err == nil {
		err = d.preload(all)
	}
	if err == nil {
		err = d.tracing(all)
	}
	if err == nil {
		d.recordSites, err = all.systemBool("record_ref_creation_sites", false)
	}
	if err == nil {
		d.inlineLimit, err = all.inlineLimit()
	}
	return err
}

// inlineLimit is the size in bytes over which values go to the store; upstream's setting, and default.
func (c *Config) inlineLimit() (int, error) {
	n, err := c.SystemNumber("max_direct_call_object_size", wire.InlineLimit)
	return int(min(max(n, 1), 1<<20)), err
}

// tracing reads whether tasks are listed: as upstream, which sends no events of tasks at an interval of 0.
func (d *daemon) tracing(all *Config) error {
	every, err := all.SystemNumber("task_events_report_interval_ms", 1000)
	if err == nil {
		d.locked(func() { d.untraced = every <= 0 })
	}
	return err
}

// preload reads the modules that every worker imports before its first task: a list, or names with commas in between.
func (d *daemon) preload(all *Config) error {
	text := all.system("preload_python_modules")
	if text == nil {
		return nil
	}
	var names []string
	var one string
	switch {
	case json.Unmarshal(text, &names) == nil:
	case json.Unmarshal(text, &one) == nil:
		names = strings.Split(one, ",")
	default:
		return fmt.Errorf("_system_config: preload_python_modules must be a list of names, not %s", text)
	}
	d.locked(func() { d.modules = strings.Join(names, ",") })
	return nil
}

// reconstruction tells the owner how lost objects are made again: whether at
// all, and how much may be kept for it.
func (d *daemon) reconstruction(all *Config) (err error) {
	on := true
	for _, key := range []string{"enable_object_reconstruction", "lineage_pinning_enabled"} {
		if on, err = all.systemBool(key, on); err != nil {
			return err
		}
	}
	most, err := all.SystemNumber("max_lineage_bytes", 1<<30)
	if err != nil {
		return err
	}
	d.locked(func() { d.own.NoRemake, d.own.MaxLineage = !on, uint64(max(most, 1)) })
	return nil
}
