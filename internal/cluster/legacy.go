package cluster

// Node types that a file of the old form, with head_node and worker_nodes, is
// turned into; upstream's names.
const (
	legacyHead   = "ray-legacy-head-node-type"
	legacyWorker = "ray-legacy-worker-node-type"
)

// convertLegacy turns head_node and worker_nodes, which are node_configs of
// the one head and of all workers, into node types.
func (c *checker) convertLegacy(doc map[string]any) {
	head, workers := sub(doc, "head_node"), sub(doc, "worker_nodes")
	delete(doc, "head_node")
	delete(doc, "worker_nodes")
	if len(head) == 0 && len(workers) == 0 {
		return
	}
	for _, key := range []string{"available_node_types", "head_node_type"} {
		if doc[key] != nil {
			c.addAt(key, "cannot stand beside head_node and worker_nodes, the old form; move those into available_node_types")
			return
		}
	}
	least, most := doc["min_workers"], doc["max_workers"]
	if least == nil {
		least = int64(0)
	}
	worker := map[string]any{"node_config": workers, "resources": map[string]any{}, "min_workers": least}
	if most != nil {
		worker["max_workers"] = most
	}
	if workers == nil {
		worker["node_config"] = cloneValue(head)
	}
	if head == nil {
		head = cloneValue(workers).(map[string]any)
	}
	doc["available_node_types"] = map[string]any{
		legacyHead:   map[string]any{"node_config": head, "resources": map[string]any{}, "min_workers": int64(0), "max_workers": int64(0)},
		legacyWorker: worker,
	}
	doc["head_node_type"] = legacyHead
	// Problems of what was converted belong to where it stands.
	for from, to := range map[string]string{"head_node": legacyHead, "worker_nodes": legacyWorker} {
		if at, ok := c.at[from]; ok {
			c.at["available_node_types."+to] = at
		}
	}
}
