package spec

import (
	"maps"
	"testing"
)

func TestDeviceFamily(t *testing.T) {
	for _, c := range []struct{ resource, family, group string }{
		{"GPU", "GPU", ""}, {"CPU", "", ""}, {"GPU_group_ab12", "GPU", "ab12"}, {"GPU_group_0_ab12", "GPU", "0_ab12"},
		{"neuron_cores", "neuron_cores", ""}, {"neuron_cores_group_3_ab12", "neuron_cores", "3_ab12"},
		{"TPU", "TPU", ""}, {"TPU-v4-16-head", "", ""}, {"GPUs", "", ""}, {"GPU_grouped", "", ""}, {"NPU", "NPU", ""}, {"TTNPU", "TTNPU", ""},
	} {
		if family, group := DeviceFamily(c.resource); family != c.family || group != c.group {
			t.Errorf("%s: %q %q, want %q %q", c.resource, family, group, c.family, c.group)
		}
	}
}

func TestDeviceEnv(t *testing.T) {
	for _, family := range DeviceFamilies {
		if deviceVariables[family] == "" {
			t.Errorf("%s has no variable", family)
		}
	}
	got := DeviceEnv(map[string][]string{GPU: {"0", "3"}, "TPU": {"1"}, "FURIOSA": {"0", "1"}}, "")
	want := map[string]string{"CUDA_VISIBLE_DEVICES": "0,3", "TPU_VISIBLE_CHIPS": "1", "TPU_HOST_BOUNDS": "1,1,1",
		"TPU_CHIPS_PER_HOST_BOUNDS": "1,1,1", "FURIOSA_DEVICES": "npu:0,npu:1"}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := DeviceEnv(map[string][]string{"TPU": {"0", "1", "2", "3"}}, HIPVisible); len(got) != 1 || got["TPU_VISIBLE_CHIPS"] != "0,1,2,3" {
		t.Errorf("a whole host: %v", got)
	}
	if got := DeviceEnv(map[string][]string{GPU: {"1"}}, HIPVisible); !maps.Equal(got, map[string]string{"HIP_VISIBLE_DEVICES": "1"}) {
		t.Errorf("an AMD GPU: %v", got)
	}
}
