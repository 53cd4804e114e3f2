package cluster

import "gopkg.in/yaml.v3"

// Mapping reads a YAML or JSON mapping that is no cluster file into plain
// values; nil if the text is empty or null.
func Mapping(text []byte) (map[string]any, error) {
	var m map[string]any
	err := yaml.Unmarshal(text, &m)
	return m, err
}
