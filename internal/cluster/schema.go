package cluster

import (
	"maps"
	"slices"
)

// kind is the shape that a field's value must have.
type kind int

const (
	anyKind kind = iota
	text
	integer
	number
	boolean
	textList
	textMap
	object     // known keys only
	openObject // any keys
	amounts    // resource name → amount
	typesMap   // node type name → node type
)

// want says in words what a value of the kind looks like.
var want = map[kind]string{
	text: "text", integer: "a whole number", number: "a number", boolean: "true or false",
	textList: "a list of texts", textMap: "a mapping of texts to texts", object: "a mapping", openObject: "a mapping",
	amounts: "a mapping of resource names to amounts", typesMap: "a mapping of node type names to node types",
}

// field describes one key of the file.
type field struct {
	kind kind
	min  float64 // least value of a number; -1 where none is
	sub  fields
	null bool   // null is accepted
	gone string // not empty: the field is refused, and this says what to do
	mute bool   // accepted, but neither suggested nor in the JSON Schema
}

type fields map[string]field

func (f fields) names() []string {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(f)) {
		if f[n].gone == "" && !f[n].mute {
			names = append(names, n)
		}
	}
	return names
}

var dockerFields = fields{
	"image": {kind: text}, "head_image": {kind: text}, "worker_image": {kind: text}, "container_name": {kind: text, null: true},
	"pull_before_run": {kind: boolean}, "run_options": {kind: textList}, "head_run_options": {kind: textList},
	"worker_run_options": {kind: textList}, "disable_automatic_runtime_detection": {kind: boolean},
	"disable_shm_size_detection": {kind: boolean}, "use_podman": {kind: boolean},
}

var typeDockerFields = fields{
	"worker_image": {kind: text}, "pull_before_run": {kind: boolean}, "worker_run_options": {kind: textList},
}

var authFields = fields{
	"ssh_user": {kind: text}, "ssh_private_key": {kind: text}, "ssh_public_key": {kind: text},
	"ssh_proxy_command": {kind: text, null: true}, "ssh_proxy_use_node_id": {kind: boolean},
}

var typeFields = fields{
	"node_config": {kind: openObject}, "resources": {kind: amounts}, "labels": {kind: textMap},
	"min_workers": {kind: integer}, "max_workers": {kind: integer}, "idle_timeout_s": {kind: number, null: true},
	"price_per_hour": {kind: number}, "priority": {kind: number, min: -1}, "initialization_commands": {kind: textList}, "worker_setup_commands": {kind: textList},
	"docker": {kind: object, sub: typeDockerFields},
}

var topFields = fields{
	"cluster_name": {kind: text}, "max_workers": {kind: integer}, "min_workers": {kind: integer},
	"upscaling_speed": {kind: number}, "max_cost_per_hour": {kind: number}, "max_disrupted_workers": {kind: integer, min: 1}, "consolidate": {kind: boolean},
	"auto_stop": {kind: object, sub: fields{"idle_minutes": {kind: number}, "action": {kind: text}}, null: true}, "idle_timeout_minutes": {kind: number},
	"provider": {kind: openObject}, "auth": {kind: object, sub: authFields}, "docker": {kind: object, sub: dockerFields},
	"available_node_types": {kind: typesMap, sub: typeFields}, "head_node_type": {kind: text},
	"file_mounts": {kind: textMap}, "cluster_synced_files": {kind: textList}, "file_mounts_sync_continuously": {kind: boolean},
	"rsync_exclude": {kind: textList}, "rsync_filter": {kind: textList}, "metadata": {kind: openObject},
	"initialization_commands": {kind: textList}, "setup_commands": {kind: textList}, "head_setup_commands": {kind: textList},
	"worker_setup_commands": {kind: textList}, "head_start_ray_commands": {kind: textList},
	"worker_start_ray_commands": {kind: textList}, "no_restart": {kind: anyKind},
	"head_node": {kind: openObject, null: true}, "worker_nodes": {kind: openObject, null: true},
	"initial_workers": {gone: "no longer exists; set min_workers of a node type"}, "autoscaling_mode": {gone: "no longer exists; set upscaling_speed"},
	"target_utilization_fraction": {gone: "no longer exists; set upscaling_speed"},
	"worker_default_node_type":    {gone: "no longer exists; the autoscaler chooses the worker type by demand"},
}

var providerCommon = fields{
	"type": {kind: text}, "use_internal_ips": {kind: boolean}, "use_external_head_ip": {kind: boolean},
	"cache_stopped_nodes": {kind: boolean}, "disable_node_updaters": {kind: boolean}, "disable_launch_config_check": {kind: boolean},
	"foreground_node_launch": {kind: boolean}, "worker_liveness_check": {kind: boolean}, "use_node_id_as_ip": {kind: boolean},
	"module": {kind: text}, "namespace": {kind: text},
	"state_dir":                  {kind: text, mute: true}, // the launcher writes it into the head's copy
	"autoscaler_service_account": {kind: openObject, mute: true}, "autoscaler_role": {kind: openObject, mute: true}, "autoscaler_role_binding": {kind: openObject, mute: true},
}

// providerFields are the fields of each known provider besides the common
// ones; nil means that the provider's own fields are not checked.
var providerFields = map[string]fields{
	"process": {},
	"fake":    {},
	"local": {
		"head_ip": {kind: text}, "worker_ips": {kind: textList}, "external_head_ip": {kind: text},
		"coordinator_address": {kind: text},
	},
	"aws": {
		"region": {kind: text}, "availability_zone": {kind: text}, "aws_credentials": {kind: openObject},
		"key_pair":       {kind: object, sub: fields{"key_name": {kind: text}}},
		"security_group": {kind: object, sub: fields{"GroupName": {kind: text}, "IpPermissions": {kind: anyKind}}},
		"cloudwatch": {kind: object, sub: fields{
			"agent": {kind: object, sub: fields{
				"config": {kind: text, null: true}, "CLOUDWATCH_AGENT_INSTALLED_AMI_TAG": {kind: text},
				"retryer": {kind: object, sub: fields{"max_attempts": {kind: integer, null: true}, "delay_seconds": {kind: integer, null: true}}},
			}},
			"dashboard": {kind: object, sub: fields{"name": {kind: text, null: true}, "config": {kind: text, null: true}}},
			"alarm":     {kind: object, sub: fields{"config": {kind: text, null: true}}},
		}},
	},
	"gcp": {
		"project_id": {kind: text, null: true}, "region": {kind: text}, "availability_zone": {kind: text},
		"gcp_credentials": {kind: object, sub: fields{"type": {kind: text}, "credentials": {kind: text}}}, "_has_tpus": {kind: boolean},
		"api_endpoint": {kind: text},
	},
	"azure": {
		"location": {kind: text}, "resource_group": {kind: text}, "subscription_id": {kind: text}, "unique_id": {kind: text},
		"subnet_mask": {kind: text}, "availability_zone": {kind: text}, "tags": {kind: openObject}, "msi_name": {kind: text},
		"msi_resource_group": {kind: text}, "msi": {kind: text}, "nsg": {kind: text}, "subnet": {kind: text},
		"msi_identity_id": {kind: text}, "msi_identity_principal_id": {kind: text}, "subnet_id": {kind: text},
	},
	"vsphere": {"vsphere_config": {kind: openObject}}, // its fields changed with every release of upstream
	"aliyun": {
		"access_key": {kind: text, null: true}, "access_key_secret": {kind: text, null: true}, "region": {kind: text},
		"zone_id": {kind: text}, "cidr_block": {kind: text}, "key_name": {kind: text}, "security_group_rule": {kind: anyKind},
		"vpc_id": {kind: text}, "v_switch_id": {kind: text}, "security_group_id": {kind: text},
	},
	"fake_multinode": {"gcs_address": {kind: text}, "head_node_id": {kind: text}, "launch_multiple": {kind: boolean}},
	"fake_multinode_docker": {
		"project_name": {kind: text}, "image": {kind: text}, "shared_volume_dir": {kind: text}, "head_resources": {kind: openObject},
		"host_gcs_port": {kind: integer}, "host_object_manager_port": {kind: integer}, "host_client_port": {kind: integer},
		"env_vars": {kind: openObject}, "cleanup_interval": {kind: number},
	},
	"spark": {
		"ray_head_ip": {kind: text}, "ray_head_port": {kind: anyKind}, "cluster_unique_id": {kind: text}, "spark_job_server_port": {kind: anyKind},
	},
	"docker":  {"image": {kind: text}, "use_podman": {kind: boolean}, "network": {kind: text}, "run_options": {kind: textList}},
	"kuberay": {}, "readonly": {},
	"external": nil,
}

// ProviderTypes are the provider names that a file may give, sorted.
func ProviderTypes() []string { return slices.Sorted(maps.Keys(providerFields)) }
