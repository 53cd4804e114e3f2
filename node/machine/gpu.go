package machine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"ray/internal/spec"
)

// GPUs are the devices of one maker that this process may use.
type GPUs struct {
	Count int
	Type  string // as in accelerator_type:<Type>, "" if unknown
	// IDs are those that Variable names, one a device; nil: 0, 1, ….
	IDs []string
	// Variable names the devices that a process may use; "" if there are none.
	Variable string
}

var (
	gpuModel = regexp.MustCompile(`(?m)^Model:\s+(.+)$`)
	gpuLine  = regexp.MustCompile(`(?m)^GPU \d+: (.+?) \(UUID: `)
	// gpuShort finds the part of a model's name that stays the same over its
	// variants: after the brand, words in capitals, up to one with a digit.
	gpuShort = regexp.MustCompile(`^\w+\s+((?:[A-Z]+\s+)*[A-Z0-9]*\d[A-Z0-9]*)`)
	gpuFile  = regexp.MustCompile(`/nvidia\d+$`)
)

// smiPatience bounds how long nvidia-smi may take: it can hang on a bad device.
const smiPatience = 5 * time.Second

// VisibleGPUs are the devices that a variable (CUDA_VISIBLE_DEVICES, or of the
// devices that were found) leaves to this process; limited: it is set.
func VisibleGPUs(variable string) (ids []string, limited bool) {
	visible, limited := os.LookupEnv(variable)
	return visibleIDs(visible), limited
}

// FindGPUs reads the drivers' own files, which needs no library and no child
// process: NVIDIA's, else AMD's. Where NVIDIA's are missing (WSL, some
// containers) it asks nvidia-smi, if there is a device at all.
func FindGPUs(ctx context.Context) (GPUs, error) { return findGPUs(ctx, "/", os.LookupEnv) }

// findGPUs looks below root; env is the environment.
func findGPUs(ctx context.Context, root string, env func(string) (string, bool)) (GPUs, error) {
	models := driverModels(root)
	if len(models) == 0 && (exists(filepath.Join(root, "dev/nvidiactl")) || exists(filepath.Join(root, "dev/dxg"))) {
		models = smiModels(ctx)
	}
	if len(models) == 0 {
		return findAMD(root, env)
	}
	g := visibleOf(spec.CUDAVisible, len(models), env)
	if g.Count > 0 {
		g.Type = acceleratorType(models[0])
	}
	return g, nil
}

// visibleOf are those of count devices that a variable leaves to this process.
func visibleOf(variable string, count int, env func(string) (string, bool)) GPUs {
	g := GPUs{Count: count, Variable: variable}
	if visible, limited := env(variable); limited {
		g.IDs = visibleIDs(visible)
		if len(g.IDs) > g.Count {
			g.IDs = g.IDs[:g.Count]
		}
		g.Count = len(g.IDs)
	}
	if g.Count == 0 {
		return GPUs{Variable: variable}
	}
	return g
}

// driverModels lists a model for each device. A container sees the driver's
// list of all devices, and device files of its own only.
func driverModels(root string) (models []string) {
	files, _ := filepath.Glob(filepath.Join(root, "proc/driver/nvidia/gpus/*/information")) // well formed
	for _, name := range files {
		text, _ := os.ReadFile(name)
		model := ""
		if m := gpuModel.FindSubmatch(text); m != nil {
			model = string(m[1])
		}
		models = append(models, model)
	}
	devices, _ := filepath.Glob(filepath.Join(root, "dev/nvidia[0-9]*"))
	own := 0
	for _, d := range devices {
		if gpuFile.MatchString(d) {
			own++
		}
	}
	if own > 0 && own < len(models) {
		models = models[:own]
	}
	return models
}

func smiModels(ctx context.Context) (models []string) {
	ctx, cancel := context.WithTimeout(ctx, smiPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "-L").Output()
	if err != nil {
		return nil
	}
	for _, m := range gpuLine.FindAllSubmatch(out, -1) {
		models = append(models, string(m[1]))
	}
	return models
}

// visibleIDs reads such a variable: an id that is none ends the list.
func visibleIDs(list string) []string {
	ids := []string{}
	for id := range strings.SplitSeq(list, ",") {
		id = strings.TrimSpace(id)
		if id == "-1" || id == "NoDevFiles" {
			break
		}
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// acceleratorType is the name by which tasks ask for a model, as upstream
// shortens it: "NVIDIA A100-SXM4-40GB" and "NVIDIA A100 80GB PCIe" are A100,
// "NVIDIA GeForce RTX 4090", whose words are not all in capitals, is
// GeForce-RTX-4090.
func acceleratorType(model string) string {
	if m := gpuShort.FindStringSubmatch(model); m != nil && len(m[1]) > 1 {
		return strings.Join(strings.Fields(m[1]), "-")
	}
	return strings.Join(strings.Fields(strings.TrimPrefix(strings.TrimSpace(model), "NVIDIA ")), "-")
}
