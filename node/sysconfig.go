package node

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
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
