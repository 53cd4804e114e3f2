package machine

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"ray/internal/spec"
)

// amdTypes are the names by which tasks ask for AMD's models, by PCI device id.
var amdTypes = map[uint64]string{
	0x66a1: "AMD-Instinct-MI50", 0x738c: "AMD-Instinct-MI100", 0x7408: "AMD-Instinct-MI250X", 0x740c: "AMD-Instinct-MI250X-MI250",
	0x740f: "AMD-Instinct-MI210", 0x74a0: "AMD-Instinct-MI300A", 0x74a1: "AMD-Instinct-MI300X-OAM", 0x74a2: "AMD-Instinct-MI308X-OAM",
	0x74a9: "AMD-Instinct-MI300X-HF", 0x74a5: "AMD-Instinct-MI325X-OAM", 0x75a0: "AMD-Instinct-MI350X-OAM",
	0x75a3: "AMD-Instinct-MI355X-OAM", 0x6798: "AMD-Radeon-R9-200-HD-7900", 0x6799: "AMD-Radeon-HD-7900",
	0x679a: "AMD-Radeon-HD-7900", 0x679b: "AMD-Radeon-HD-7900",
}

var (
	kfdSIMDs  = regexp.MustCompile(`(?m)^simd_count (\d+)$`)
	kfdDevice = regexp.MustCompile(`(?m)^device_id (\d+)$`)
)

// findAMD reads the topology that AMD's kernel driver shows. CPUs are nodes of
// it too, without SIMD units; those of devices that a container does not have
// cannot be read there.
func findAMD(root string, env func(string) (string, bool)) (GPUs, error) {
	var models []uint64
	files, _ := filepath.Glob(filepath.Join(root, "sys/class/kfd/kfd/topology/nodes/*/properties")) // well formed
	slices.SortFunc(files, func(a, b string) int { return nodeNumber(a) - nodeNumber(b) })
	for _, name := range files {
		text, _ := os.ReadFile(name)
		if m := kfdSIMDs.FindSubmatch(text); m == nil || string(m[1]) == "0" {
			continue
		}
		var id uint64
		if m := kfdDevice.FindSubmatch(text); m != nil {
			id, _ = strconv.ParseUint(string(m[1]), 10, 64)
		}
		models = append(models, id)
	}
	if len(models) == 0 {
		return GPUs{}, nil
	}
	_, hip := env(spec.HIPVisible)
	if _, rocr := env("ROCR_VISIBLE_DEVICES"); rocr && !hip {
		return GPUs{}, errors.New("this machine's AMD GPUs cannot be given out while ROCR_VISIBLE_DEVICES is set alone: it hides devices before they are counted. " +
			"Please use HIP_VISIBLE_DEVICES instead of ROCR_VISIBLE_DEVICES")
	}
	g := visibleOf(spec.HIPVisible, len(models), env)
	if g.Count > 0 {
		g.Type = amdTypes[models[0]]
	}
	return g, nil
}

func nodeNumber(properties string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(properties)))
	return n
}
