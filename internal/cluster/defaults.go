package cluster

import "maps"

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
	// Any ports, since the containers may be on the machine's network.
	dockerHeadStart   = []any{"ray stop", "ray start --head --port=0 --dashboard-port=0 --autoscaling-config=" + BootstrapPath}
	dockerWorkerStart = []any{"ray stop", "ray start --address=$RAY_HEAD_ADDRESS"}
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
	kind := str(sub(doc, "provider")["type"])
	out := providerDefaults(kind)
	if kind == "local" {
		maps.Copy(out, localDefaults(doc, sub(doc, "provider")))
	}
	for k, v := range doc {
		if f := topFields[k]; f.gone == "" && (v != nil || !nullable[k]) {
			out[k] = v
		}
	}
	if kind == "readonly" && doc["idle_timeout_minutes"] == nil {
		delete(out, "idle_timeout_minutes") // such clusters never end a node
	}
	delete(out, "min_workers")
	if only := sub(sub(out, "available_node_types"), localType); kind == "local" && only != nil && str(sub(doc, "provider")["coordinator_address"]) == "" {
		out["max_workers"] = min(out["max_workers"].(int64), localHosts(doc)) // no more than there are hosts
	}
	if !isResolved(doc) {
		fillSetup(out)
	}
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
// the provider where it tells, so that AWS needs no resources here.
func defaultTypes(provider string) map[string]any {
	head, worker := "ray.head.default", "ray.worker.default"
	two := map[string]any{"CPU": int64(2)}
	types := func(first, second map[string]any) map[string]any {
		return map[string]any{"head_node_type": head, "available_node_types": map[string]any{head: first, worker: second}}
	}
	describe := func(config, resources map[string]any) map[string]any {
		return map[string]any{"node_config": config, "resources": resources}
	}
	none := map[string]any{}
	switch provider {
	case "aws":
		return types(describe(map[string]any{"InstanceType": "m5.large", "BlockDeviceMappings": []any{
			map[string]any{"DeviceName": "/dev/sda1", "Ebs": map[string]any{"VolumeSize": int64(256)}},
		}}, none), describe(map[string]any{"InstanceType": "m5.large", "InstanceMarketOptions": map[string]any{"MarketType": "spot"}}, none))
	case "gcp":
		head, worker = "ray_head_default", "ray_worker_small"
		spot := gcpMachine()
		spot["scheduling"] = []any{map[string]any{"preemptible": true}}
		return types(describe(gcpMachine(), two), describe(spot, two))
	case "azure":
		onDemand, spot := azureMachine(), azureMachine()
		onDemand["availability_zone"], spot["priority"] = "none", "Spot"
		return types(describe(map[string]any{"azure_arm_parameters": onDemand}, two), describe(map[string]any{"azure_arm_parameters": spot}, two))
	case "vsphere":
		return vsphereTypes()
	case "readonly":
		only := describe(none, none)
		only["max_workers"] = int64(0)
		return map[string]any{"head_node_type": head, "available_node_types": map[string]any{head: only}}
	case "spark":
		worker = "ray.worker"
		first := describe(none, map[string]any{"CPU": int64(8), "GPU": int64(0)})
		first["max_workers"] = int64(0)
		second := describe(none, map[string]any{"CPU": int64(1), "object_store_memory": int64(1000000000)})
		second["max_workers"] = int64(4)
		return types(first, second)
	case "local":
		return nil
	}
	return types(describe(none, two), describe(none, two))
}

// vsphereTypes are three; what they are made of is for the file to say.
func vsphereTypes() map[string]any {
	worker := func(most int64) map[string]any {
		return map[string]any{"resources": map[string]any{}, "min_workers": int64(1), "max_workers": most}
	}
	return map[string]any{"head_node_type": "ray.head.default", "available_node_types": map[string]any{
		"ray.head.default": map[string]any{"resources": map[string]any{}}, "worker": worker(3), "worker_2": worker(2),
	}}
}

func azureMachine() map[string]any {
	return map[string]any{
		"vmSize": "Standard_D2s_v3", "imagePublisher": "microsoft-dsvm", "imageOffer": "ubuntu-2204",
		"imageSku": "2204-gen2", "imageVersion": "latest",
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
	n := localHosts(doc)
	count := func(key string) int64 {
		if v, ok := doc[key].(int64); ok && v < n {
			return v
		}
		return n
	}
	least, most := count("min_workers"), count("max_workers")
	if str(provider["coordinator_address"]) != "" && doc["min_workers"] == nil {
		least = 0
	}
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

// localHosts is how many workers an on-prem file lists; with a coordinator,
// which has the list, as many as the file asks for.
func localHosts(doc map[string]any) int64 {
	provider := sub(doc, "provider")
	if str(provider["coordinator_address"]) != "" {
		n, _ := doc["max_workers"].(int64)
		return n
	}
	hosts, _ := provider["worker_ips"].([]any)
	return int64(len(hosts))
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
		for _, key := range []string{"node_config", "resources"} {
			if v, given := m[key]; given && v == nil {
				m[key] = map[string]any{}
			}
		}
		types[name] = m
	}
	doc["available_node_types"] = types
}
