package spec

import (
	"cmp"
	"strings"
)

// DeviceFamilies are the resources that stand for devices: who holds some is
// told which, and sees no others. The names are upstream's.
var DeviceFamilies = []string{GPU, "TPU", "HPU", "NPU", "neuron_cores", "RBLN", "FURIOSA", "MBLT", "TTNPU"}

// DeviceFamily is the family of devices that a resource counts, "" if none.
// group is what follows "<family>_group_" in the resource of a placement
// group: the group's id, for one bundle with its index and "_" before it.
func DeviceFamily(resource string) (family, group string) {
	for _, f := range DeviceFamilies {
		if rest, ok := strings.CutPrefix(resource, f); !ok {
			continue
		} else if rest == "" {
			return f, ""
		} else if group, ok = strings.CutPrefix(rest, "_group_"); ok {
			return f, group
		}
	}
	return "", ""
}

// The variables that name the GPUs of a process: NVIDIA's, and AMD's.
const (
	CUDAVisible = "CUDA_VISIBLE_DEVICES"
	HIPVisible  = "HIP_VISIBLE_DEVICES"
)

// deviceVariables name the environment variable that says which devices of a
// family a process may use.
var deviceVariables = map[string]string{
	GPU: CUDAVisible, "TPU": "TPU_VISIBLE_CHIPS", "HPU": "HABANA_VISIBLE_MODULES", "NPU": "ASCEND_RT_VISIBLE_DEVICES",
	"neuron_cores": "NEURON_RT_VISIBLE_CORES", "RBLN": "RBLN_DEVICES", "FURIOSA": "FURIOSA_DEVICES",
	"MBLT": "QBRUNTIME_VISIBLE_DEVICES", "TTNPU": "TT_VISIBLE_DEVICES",
}

// DeviceEnv is what a process that holds the devices has in its environment;
// python/ray/_core/devices.py says the same to workers. gpuVariable is the node's
// for GPUs, "" for NVIDIA's.
func DeviceEnv(devices map[string][]string, gpuVariable string) map[string]string {
	out := map[string]string{}
	for family, ids := range devices {
		if family == "FURIOSA" {
			ids = prefixed("npu:", ids)
		}
		variable := deviceVariables[family]
		if family == GPU {
			variable = cmp.Or(gpuVariable, variable)
		}
		out[variable] = strings.Join(ids, ",")
		if family == "TPU" && len(ids) <= 2 {
			out["TPU_HOST_BOUNDS"] = "1,1,1"
			out["TPU_CHIPS_PER_HOST_BOUNDS"] = []string{"", "1,1,1", "1,2,1"}[len(ids)]
		}
	}
	return out
}

func prefixed(prefix string, ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = prefix + id
	}
	return out
}
