package machine

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// groups are the directories of this process's control groups for one
// controller, from its own to the outermost that is visible.
func groups(root, controller string) (dirs []string, v2 bool) {
	text, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return nil, false
	}
	mount := filepath.Join(root, "sys/fs/cgroup")
	own, v1 := "", false
	for line := range bytes.Lines(text) {
		part := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(part) != 3 {
			continue
		}
		if part[0] == "0" && part[1] == "" && !v1 {
			own = part[2]
		}
		for name := range strings.SplitSeq(part[1], ",") {
			if name == controller {
				own, v1 = part[2], true
			}
		}
	}
	if v1 {
		mount = filepath.Join(mount, controller)
	}
	for path := filepath.Join("/", own); ; path = filepath.Dir(path) {
		// A container may be told the path that the host sees, and find its own
		// group at the mount.
		if dir := filepath.Join(mount, path); path == "/" || exists(dir) {
			dirs = append(dirs, dir)
		}
		if path == "/" {
			return dirs, !v1
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// noLimit is more than any machine has: version 1 writes about 2^63 for none.
const noLimit = 1 << 60

// memoryLimit is the least limit of the groups and the directory that has it;
// 0 without one.
func memoryLimit(root string) (limit uint64, dir string, v2 bool) {
	dirs, v2 := groups(root, "memory")
	file := "memory.limit_in_bytes"
	if v2 {
		file = "memory.max"
	}
	for _, d := range dirs {
		if n, ok := number(filepath.Join(d, file)); ok && n > 0 && n < noLimit && (limit == 0 || n < limit) {
			limit, dir = n, d
		}
	}
	return limit, dir, v2
}

// groupUse is what a group holds, less the file cache that can be dropped.
func groupUse(dir string, v2 bool) uint64 {
	current, inactive := "memory.usage_in_bytes", "total_inactive_file"
	if v2 {
		current, inactive = "memory.current", "inactive_file"
	}
	n, _ := number(filepath.Join(dir, current)) // 0 if it is gone
	cache := field(filepath.Join(dir, "memory.stat"), inactive)
	return n - min(n, cache)
}

// cpuLimit is the least quota of the groups in CPUs; 0 without one.
func cpuLimit(root string) (limit float64) {
	dirs, v2 := groups(root, "cpu")
	for _, d := range dirs {
		quota := 0.0
		if v2 {
			text, err := os.ReadFile(filepath.Join(d, "cpu.max"))
			if part := strings.Fields(string(text)); err == nil && len(part) == 2 {
				q, errQ := strconv.ParseFloat(part[0], 64) // "max": no limit
				p, errP := strconv.ParseFloat(part[1], 64)
				if errQ == nil && errP == nil && p > 0 {
					quota = q / p
				}
			}
		} else {
			q, okQ := number(filepath.Join(d, "cpu.cfs_quota_us")) // -1: no limit
			p, okP := number(filepath.Join(d, "cpu.cfs_period_us"))
			if okQ && okP && p > 0 {
				quota = float64(q) / float64(p)
			}
		}
		if quota > 0 && (limit == 0 || quota < limit) {
			limit = quota
		}
	}
	return limit
}

// number reads a file with one number; what is no number is not ok.
func number(path string) (uint64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field is a number of a file with a name and a number in each line.
func field(path, name string) uint64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if f := strings.Fields(string(line)); len(f) >= 2 && strings.TrimSuffix(f[0], ":") == name {
			n, _ := strconv.ParseUint(f[1], 10, 64) // 0 if malformed
			return n
		}
	}
	return 0
}

// OOMKills counts the processes that the kernel has killed for want of
// memory, on the whole machine, since it started. A control group counts its
// own, but workers may be in others than this process.
func OOMKills() uint64 { return field("/proc/vmstat", "oom_kill") }

// CPUs is how many CPUs a node offers: those that this process may run on,
// within its groups' quotas, rounded down as tasks count whole ones.
func CPUs(online int) int { return cpus("/", online) }

func cpus(root string, online int) int {
	if limit := cpuLimit(root); limit > 0 && limit < float64(online) {
		return max(1, int(math.Floor(limit)))
	}
	return online
}

// Memory is what is in use of the memory that this process may have, and how
// much that is: the machine's, or its group's if that is limited to less. Both
// in bytes; 0 if the system does not tell.
func Memory() (used, total uint64) { return memory("/") }

func memory(root string) (used, total uint64) {
	info := filepath.Join(root, "proc/meminfo")
	total = field(info, "MemTotal") << 10
	used = total - min(total, field(info, "MemAvailable")<<10)
	if limit, dir, v2 := memoryLimit(root); limit > 0 && (limit < total || total == 0) {
		// A machine whose memory is taken by others can end a group that is
		// within its limit: what is nearer to its end counts.
		if use := groupUse(dir, v2); total == 0 || float64(use)/float64(limit) >= float64(used)/float64(total) {
			return use, limit
		}
	}
	return used, total
}

// MemoryTotal is how much memory this process may have in bytes.
func MemoryTotal() uint64 { return memoryTotal("/") }

func memoryTotal(root string) uint64 {
	total := field(filepath.Join(root, "proc/meminfo"), "MemTotal") << 10
	if limit, _, _ := memoryLimit(root); limit > 0 && (limit < total || total == 0) {
		return limit
	}
	return total
}
