package cluster

import (
	"maps"
	"slices"
)

// Start commands of machines that are reached over the network, and of the
// process provider, whose machines share one set of ports.
var (
	headStart = []any{
		"ray stop",
		"ulimit -n 65536; ray start --head --port=6379 --object-manager-port=8076 --autoscaling-config=" + BootstrapPath + " --dashboard-host=0.0.0.0",
	}
	workerStart = []any{
		"ray stop",
		"ulimit -n 65536; ray start --address=$RAY_HEAD_IP:6379 --object-manager-port=8076",
	}
	processHeadStart   = []any{"ray stop", "ray start --head --node-ip-address=127.0.0.1 --port=0 --dashboard-port=0 --autoscaling-config=" + BootstrapPath}
	processWorkerStart = []any{"ray stop", "ray start --node-ip-address=127.0.0.1 --address=$RAY_HEAD_ADDRESS"}
)

// Start commands of on-prem hosts.
var (
	localHeadStart   = []any{"ray stop", "ulimit -c unlimited; ray start --head --port=6379 --autoscaling-config=" + BootstrapPath}
	localWorkerStart = []any{"ray stop", "ray start --address=$RAY_HEAD_IP:6379"}
)

// localType is the one node type of on-prem clusters.
const localType = "local.cluster.node"

// fillDefaults gives the document with the provider's defaults. A key that the
// file has replaces the default as a whole; nothing is merged below the top.
func fillDefaults(doc map[string]any) map[string]any {
	provider := sub(doc, "provider")
	out := map[string]any{
		"cluster_name": "default", "max_workers": int64(2), "upscaling_speed": 1.0, "idle_timeout_minutes": int64(5),
		"auth": map[string]any{"ssh_user": "ubuntu"}, "docker": map[string]any{},
		"file_mounts": map[string]any{}, "cluster_synced_files": []any{}, "file_mounts_sync_continuously": false,
		"rsync_exclude": []any{}, "rsync_filter": []any{}, "initialization_commands": []any{}, "setup_commands": []any{},
		"head_setup_commands": []any{}, "worker_setup_commands": []any{},
		"head_start_ray_commands": headStart, "worker_start_ray_commands": workerStart,
	}
	switch str(provider["type"]) {
	case "process", "fake":
		maps.Copy(out, map[string]any{
			"auth": map[string]any{}, "head_start_ray_commands": processHeadStart, "worker_start_ray_commands": processWorkerStart,
		})
	case "local":
		maps.Copy(out, localDefaults(doc, provider))
	}
	if str(provider["type"]) != "local" {
		maps.Copy(out, defaultTypes(str(provider["type"])))
	}
	for k, v := range doc {
		if f := topFields[k]; f.gone == "" && (v != nil || !nullable[k]) {
			out[k] = v
		}
	}
	delete(out, "min_workers")
	if only := sub(sub(out, "available_node_types"), localType); str(provider["type"]) == "local" && only != nil {
		out["max_workers"] = only["max_workers"] // no more than there are hosts
	}
	fillSetup(out)
	fillTypes(out)
	return out
}

// nullable keys may be left empty in the file (`file_mounts:` and nothing
// more), which then means their default.
var nullable = map[string]bool{
	"auth": true, "docker": true, "file_mounts": true, "cluster_synced_files": true, "rsync_exclude": true,
	"rsync_filter": true, "initialization_commands": true, "setup_commands": true, "head_setup_commands": true,
	"worker_setup_commands": true, "metadata": true,
}

// defaultTypes are the provider's head and worker. What they have is asked of
// the provider where it tells, so that AWS needs no resources here. Unlike
// upstream's, no default sets anything up: the launcher brings the runtime.
func defaultTypes(provider string) map[string]any {
	head, worker := "ray.head.default", "ray.worker.default"
	resources := map[string]any{"CPU": int64(2)}
	headConfig, workerConfig := map[string]any{}, map[string]any{}
	switch provider {
	case "aws":
		resources = map[string]any{}
		headConfig = map[string]any{"InstanceType": "m5.large", "BlockDeviceMappings": []any{
			map[string]any{"DeviceName": "/dev/sda1", "Ebs": map[string]any{"VolumeSize": int64(256)}},
		}}
		workerConfig = map[string]any{"InstanceType": "m5.large", "InstanceMarketOptions": map[string]any{"MarketType": "spot"}}
	case "gcp":
		head, worker = "ray_head_default", "ray_worker_small"
		headConfig, workerConfig = gcpMachine(), gcpMachine()
		workerConfig["scheduling"] = []any{map[string]any{"preemptible": true}}
	}
	return map[string]any{
		"head_node_type": head,
		"available_node_types": map[string]any{
			head:   map[string]any{"node_config": headConfig, "resources": maps.Clone(resources)},
			worker: map[string]any{"node_config": workerConfig, "resources": resources, "min_workers": int64(0)},
		},
	}
}

func gcpMachine() map[string]any {
	return map[string]any{"machineType": "n1-standard-2", "disks": []any{map[string]any{
		"boot": true, "autoDelete": true, "type": "PERSISTENT", "initializeParams": map[string]any{
			"diskSizeGb": int64(50), "sourceImage": "projects/deeplearning-platform-release/global/images/family/common-cpu",
		},
	}}}
}

// localDefaults makes the one node type of a list of hosts.
func localDefaults(doc, provider map[string]any) map[string]any {
	hosts, _ := provider["worker_ips"].([]any)
	n := int64(len(hosts))
	count := func(key string) int64 {
		if v, ok := doc[key].(int64); ok && v < n {
			return v
		}
		return n
	}
	least, most := count("min_workers"), count("max_workers")
	return map[string]any{
		"max_workers": most, "head_node_type": localType,
		"head_start_ray_commands": localHeadStart, "worker_start_ray_commands": localWorkerStart,
		"available_node_types": map[string]any{
			localType: map[string]any{
				"node_config": map[string]any{}, "resources": map[string]any{}, "min_workers": min(least, most), "max_workers": most,
			},
		},
	}
}

// fillSetup puts the common set-up commands before those of each kind.
func fillSetup(doc map[string]any) {
	common, _ := doc["setup_commands"].([]any)
	for _, key := range []string{"head_setup_commands", "worker_setup_commands"} {
		own, _ := doc[key].([]any)
		doc[key] = append(slices.Clone(common), own...)
	}
}

// fillTypes gives every node type its limits.
func fillTypes(doc map[string]any) {
	types := map[string]any{}
	for name, v := range sub(doc, "available_node_types") {
		m, ok := v.(map[string]any)
		if !ok {
			types[name] = v
			continue
		}
		m = maps.Clone(m)
		if m["min_workers"] == nil {
			m["min_workers"] = int64(0)
		}
		if m["max_workers"] == nil {
			m["max_workers"] = doc["max_workers"]
			if name == str(doc["head_node_type"]) {
				m["max_workers"] = int64(0)
			}
		}
		if m["node_config"] == nil {
			m["node_config"] = map[string]any{}
		}
		if m["resources"] == nil {
			m["resources"] = map[string]any{}
		}
		types[name] = m
	}
	doc["available_node_types"] = types
}
