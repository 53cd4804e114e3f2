package cluster

import "maps"

// providerDefaults are the top-level values that a provider's files may leave
// out. They are upstream's to the letter, set-up commands that install its own
// wheel included: both launchers must arrive at the same document, since its
// hash decides whether a running machine still fits. What defaults would
// install is not run; see Config.HeadSetup.
func providerDefaults(provider string) map[string]any {
	out := map[string]any{
		"cluster_name": "default", "max_workers": int64(2), "upscaling_speed": 1.0, "idle_timeout_minutes": int64(5),
		"auth": map[string]any{"ssh_user": "ubuntu"}, "docker": map[string]any{},
		"file_mounts": map[string]any{}, "cluster_synced_files": []any{}, "file_mounts_sync_continuously": false,
		"rsync_exclude": []any{}, "rsync_filter": []any{}, "initialization_commands": []any{}, "setup_commands": []any{},
		"head_setup_commands": []any{}, "worker_setup_commands": []any{},
		"head_start_ray_commands": headStart, "worker_start_ray_commands": workerStart,
	}
	switch provider {
	case "process", "fake":
		maps.Copy(out, map[string]any{
			"auth": map[string]any{}, "head_start_ray_commands": processHeadStart, "worker_start_ray_commands": processWorkerStart,
		})
	case "docker":
		maps.Copy(out, map[string]any{
			"auth": map[string]any{}, "head_start_ray_commands": dockerHeadStart, "worker_start_ray_commands": dockerWorkerStart,
		})
	case "local":
		out["auth"] = map[string]any{}
		delete(out, "max_workers") // the number of hosts
	case "aws":
		maps.Copy(out, awsDefaults())
	case "gcp":
		maps.Copy(out, gcpDefaults())
	case "azure":
		maps.Copy(out, azureDefaults())
	case "vsphere":
		maps.Copy(out, vsphereDefaults())
	case "readonly", "spark":
		maps.Copy(out, attachedDefaults(provider))
	}
	maps.Copy(out, defaultTypes(provider))
	return out
}

// wheel is how upstream's defaults bring its nightly build.
func wheel(python string) string {
	return `which ray || pip install -U "ray[default] @ https://s3-us-west-2.amazonaws.com/ray-wheels/latest/ray-3.0.0.dev0-` +
		python + `-manylinux2014_x86_64.whl"`
}

func awsDefaults() map[string]any {
	return map[string]any{
		"setup_commands": []any{
			`(stat $HOME/anaconda3/envs/tensorflow2_p310/ &> /dev/null && ` +
				`echo 'export PATH="$HOME/anaconda3/envs/tensorflow2_p310/bin:$PATH"' >> ~/.bashrc) || true`,
			wheel("cp310-cp310"),
		},
		"head_setup_commands": []any{"pip install 'boto3>=1.4.8'"},
	}
}

func gcpDefaults() map[string]any {
	return map[string]any{
		"setup_commands": []any{
			`(stat /opt/conda/bin/ &> /dev/null && echo 'export PATH="/opt/conda/bin:$PATH"' >> ~/.bashrc) || true`,
			wheel("cp37-cp37m"),
		},
		"head_setup_commands": []any{"pip install google-api-python-client==1.7.8"},
	}
}

func azureDefaults() map[string]any {
	return map[string]any{
		"initialization_commands": []any{"touch ~/.sudo_as_admin_successful"},
		"setup_commands": []any{
			`(which conda && echo 'eval "$(conda shell.bash hook)"' >> ~/.bashrc) || true`,
			"conda tos accept",
			"conda create -n ray-env python=3.10 -y",
			"conda activate ray-env && echo 'conda activate ray-env' >> ~/.bashrc",
			wheel("cp310-cp310"),
		},
		"head_setup_commands": []any{"pip install -U azure-core==1.35.0 azure-identity==1.23.1 azure-mgmt-compute==35.0.0 " +
			"azure-mgmt-network==29.0.0 azure-mgmt-resource==24.0.0 azure-common==1.1.28 msrest==0.7.1 msrestazure==0.6.4.post1"},
	}
}

func vsphereDefaults() map[string]any {
	return map[string]any{
		"cluster_name": "ray-cluster", "max_workers": int64(5),
		"auth": map[string]any{"ssh_user": "ray", "ssh_private_key": "~/ray-bootstrap-key.pem"},
		"docker": map[string]any{
			"image": "rayproject/ray-ml:latest", "container_name": "ray_container", "pull_before_run": true,
			"run_options": []any{"--ulimit nofile=65536:65536"},
		},
		"head_start_ray_commands": []any{
			"ray stop", "ulimit -n 65536; ray start --head --port=6379 --autoscaling-config=" + BootstrapPath + " --dashboard-host=0.0.0.0",
		},
		"worker_start_ray_commands": []any{"ray stop", "ulimit -n 65536; ray start --address=$RAY_HEAD_IP:6379"},
	}
}

// attachedDefaults are those of providers whose nodes somebody else starts.
func attachedDefaults(provider string) map[string]any {
	out := map[string]any{
		"auth": map[string]any{}, "max_workers": int64(0),
		"head_start_ray_commands": []any{}, "worker_start_ray_commands": []any{},
	}
	if provider == "spark" {
		maps.Copy(out, map[string]any{"cluster_name": "spark", "max_workers": int64(8), "idle_timeout_minutes": 1.0})
	}
	return out
}
