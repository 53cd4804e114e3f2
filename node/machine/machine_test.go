package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ray/internal/spec"
)

const meminfo = "MemTotal:       16000000 kB\nMemFree:   1 kB\nMemAvailable:    4000000 kB\n"

// made writes files below a root; "x" at the end of a name makes it a program.
func made(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		files       map[string]string
		cpus        int
		used, total uint64
	}{
		"bare machine": {map[string]string{"proc/meminfo": meminfo}, 8, 12_000_000 << 10, 16_000_000 << 10},
		"v2 without limits": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/user.slice\n",
			"sys/fs/cgroup/user.slice/memory.max": "max\n", "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n"}, 8, 12_000_000 << 10, 16_000_000 << 10},
		"v2 container": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000\n",
			"sys/fs/cgroup/memory.current": "900000\n", "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 100000\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2, 800000, 1000000},
		"v2, the outer group is tighter": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "3000000\n",
			"sys/fs/cgroup/a/memory.max": "2000000\n", "sys/fs/cgroup/a/memory.current": "1900000\n", "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
			"sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 1, 1900000, 2000000},
		"v1": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/job\n1:cpu:/job\n0::/\n",
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "5000000\n", "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "4900000\n",
			"sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 900000\n", "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "400000\n",
			"sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n"}, 4, 4000000, 5000000},
		"v1 container that knows the host's path": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "6000000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "5900000\n"}, 8, 5900000, 6000000},
		"v1 without limits": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/\n1:cpu:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, 8, 12_000_000 << 10, 16_000_000 << 10},
		"the machine is nearer to its end than the group": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/memory.max": "1000000\n", "sys/fs/cgroup/memory.current": "100000\n"}, 8, 12_000_000 << 10, 16_000_000 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			root := made(t, c.files)
			used, total := memory(root)
			if got := cpus(root, 8); got != c.cpus || used != c.used || total != c.total {
				t.Errorf("%d CPUs, %d of %d bytes; want %d, %d of %d", got, used, total, c.cpus, c.used, c.total)
			}
		})
	}
	root := made(t, map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000\n"})
	if got := memoryTotal(root); got != 1000000 {
		t.Errorf("total %d", got)
	}
}

func TestGPUs(t *testing.T) {
	info := func(model string) string { return "Model: \t\t " + model + "\nIRQ: 1\n" }
	two := map[string]string{"proc/driver/nvidia/gpus/0000:01/information": info("NVIDIA A100-SXM4-40GB"), "proc/driver/nvidia/gpus/0000:02/information": info("NVIDIA A100-SXM4-40GB")}
	container := map[string]string{"dev/nvidia1": "", "dev/nvidiactl": "", "dev/nvidia-uvm": ""}
	for k, v := range two {
		container[k] = v
	}
	smi := made(t, map[string]string{"nvidia-smi": "#!/bin/sh\necho 'GPU 0: NVIDIA H100 PCIe (UUID: GPU-1)'\necho 'GPU 1: NVIDIA H100 PCIe (UUID: GPU-2)'\n"})
	t.Setenv("PATH", smi+":"+os.Getenv("PATH"))
	for name, c := range map[string]struct {
		files   map[string]string
		visible string
		limited bool
		count   int
		kind    string
		ids     []string
	}{
		"none":                         {nil, "", false, 0, "", nil},
		"two":                          {two, "", false, 2, "A100", nil},
		"one is visible":               {two, "1", true, 1, "A100", []string{"1"}},
		"by name":                      {two, "GPU-b,GPU-a", true, 2, "A100", []string{"GPU-b", "GPU-a"}},
		"none is visible":              {two, "", true, 0, "", nil},
		"the list ends at -1":          {two, "0,-1,1", true, 1, "A100", []string{"0"}},
		"a container has one":          {container, "", false, 1, "A100", nil},
		"nvidia-smi knows":             {map[string]string{"dev/dxg": ""}, "", false, 2, "H100", nil},
		"without a device nobody asks": {map[string]string{"dev/null": ""}, "", false, 0, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := findGPUs(t.Context(), made(t, c.files), func(name string) (string, bool) { return c.visible, c.limited && name == spec.CUDAVisible })
			if err != nil || g.Count != c.count || g.Type != c.kind || !slices.Equal(g.IDs, c.ids) {
				t.Errorf("%+v, want %d %q %v", g, c.count, c.kind, c.ids)
			}
		})
	}
}

func TestAMD(t *testing.T) {
	node := func(simds, device int) string {
		return fmt.Sprintf("cpu_cores_count 0\nsimd_count %d\nvendor_id 4098\ndevice_id %d\n", simds, device)
	}
	nodes := "sys/class/kfd/kfd/topology/nodes/"
	files := map[string]string{nodes + "0/properties": node(0, 0), nodes + "2/properties": node(1216, 0x74a1), nodes + "10/properties": node(1216, 1), nodes + "3/properties": ""}
	for name, c := range map[string]struct {
		env  map[string]string
		want GPUs
		err  string
	}{
		"all":                 {nil, GPUs{Count: 2, Type: "AMD-Instinct-MI300X-OAM", Variable: "HIP_VISIBLE_DEVICES"}, ""},
		"one is visible":      {map[string]string{"HIP_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "0,1"}, GPUs{Count: 1, Type: "AMD-Instinct-MI300X-OAM", IDs: []string{"1"}, Variable: "HIP_VISIBLE_DEVICES"}, ""},
		"CUDA's does nothing": {map[string]string{"CUDA_VISIBLE_DEVICES": "1"}, GPUs{Count: 2, Type: "AMD-Instinct-MI300X-OAM", Variable: "HIP_VISIBLE_DEVICES"}, ""},
		"none is visible":     {map[string]string{"HIP_VISIBLE_DEVICES": ""}, GPUs{Variable: "HIP_VISIBLE_DEVICES"}, ""},
		"ROCR alone":          {map[string]string{"ROCR_VISIBLE_DEVICES": "0"}, GPUs{}, "use HIP_VISIBLE_DEVICES instead of ROCR_VISIBLE_DEVICES"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := findGPUs(t.Context(), made(t, files), func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, want %q", err, c.err)
			}
		})
	}
}

func TestAcceleratorType(t *testing.T) {
	for model, want := range map[string]string{
		"NVIDIA H200": "H200", "NVIDIA A100-SXM4-40GB": "A100", "Tesla V100-SXM2-16GB": "V100", "NVIDIA GeForce RTX 4090": "GeForce-RTX-4090",
		"NVIDIA H100 80GB HBM3": "H100", "NVIDIA A100 80GB PCIe": "A100", "NVIDIA L40S": "L40S", "Tesla T4": "T4", "NVIDIA GB200": "GB200",
		"NVIDIA RTX PRO 6000 Blackwell Server Edition": "RTX-PRO-6000", "NVIDIA TITAN V": "TITAN-V", "": "",
	} {
		if got := acceleratorType(model); got != want {
			t.Errorf("acceleratorType(%q) = %q, want %q", model, got, want)
		}
	}
}

func TestLargest(t *testing.T) {
	root := made(t, map[string]string{
		"proc/7/statm": "9 524288 1", "proc/7/cmdline": "ray::train\x00", "proc/8/statm": "9 262144 1", "proc/8/comm": "kworker\n", "proc/9/statm": "9 1 1",
	})
	got := largest(root, 2)
	if !strings.HasPrefix(got, "ray::train (pid 7, ") || !strings.Contains(got, ", kworker (pid 8, ") || strings.Contains(got, "pid 9") {
		t.Error(got)
	}
}
