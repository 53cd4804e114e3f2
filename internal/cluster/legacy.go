package cluster

import "maps"

// Node types that a file of the old form, with head_node and worker_nodes, is
// turned into; upstream's names.
const (
	legacyHead   = "ray-legacy-head-node-type"
	legacyWorker = "ray-legacy-worker-node-type"
)

// convertLegacy turns head_node and worker_nodes, which are node_configs of
// the one head and of all workers, into node types. One that is empty means
// the provider's default.
func (c *checker) convertLegacy(doc map[string]any) {
	_, oldHead := doc["head_node"]
	_, oldWorkers := doc["worker_nodes"]
	head, workers := sub(doc, "head_node"), sub(doc, "worker_nodes")
	delete(doc, "head_node")
	delete(doc, "worker_nodes")
	kind := str(sub(doc, "provider")["type"])
	if doc["available_node_types"] != nil || kind == "local" || !oldHead && !oldWorkers {
		if len(head) > 0 || len(workers) > 0 {
			c.beside(doc)
		}
		return
	}
	if len(head) > 0 && doc["head_node_type"] != nil {
		c.beside(doc)
		return
	}
	defaults := defaultTypes(kind)
	types := sub(defaults, "available_node_types")
	first := legacyType(head, int64(0), int64(0))
	if len(head) == 0 {
		first = sub(types, str(defaults["head_node_type"]))
	}
	least, most := doc["min_workers"], doc["max_workers"]
	if least == nil {
		least = int64(0)
	}
	second := legacyType(workers, least, most)
	if len(workers) == 0 {
		for name := range types {
			if name != defaults["head_node_type"] {
				second = sub(types, name)
			}
		}
	}
	doc["available_node_types"] = map[string]any{legacyHead: first, legacyWorker: second}
	doc["head_node_type"] = legacyHead
	// Problems of what was converted belong to where it stands.
	for from, to := range map[string]string{"head_node": legacyHead, "worker_nodes": legacyWorker} {
		if at, ok := c.at[from]; ok {
			c.at["available_node_types."+to] = at
		}
	}
}

// beside refuses the old form together with the new one.
func (c *checker) beside(doc map[string]any) {
	for _, key := range []string{"available_node_types", "head_node_type"} {
		if doc[key] != nil {
			c.addAt(key, "cannot stand beside head_node and worker_nodes, the old form; move those into available_node_types")
			return
		}
	}
	c.addAt("provider.type", "local makes one node type of its hosts; remove head_node and worker_nodes")
}

// legacyType is a node type of the old form's node_config, in which resources
// stood too.
func legacyType(config map[string]any, least, most any) map[string]any {
	resources := sub(config, "resources")
	if resources == nil {
		resources = map[string]any{}
	}
	own := maps.Clone(config)
	delete(own, "resources")
	t := map[string]any{"node_config": own, "resources": resources, "min_workers": least}
	if most != nil {
		t["max_workers"] = most
	}
	return t
}
