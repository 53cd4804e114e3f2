package node

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The memory monitor ends work before the machine's own killer ends the
// daemon: over the threshold the newest task that may be retried goes first.
const (
	memoryThreshold = 0.95
	memoryEvery     = 250 * time.Millisecond
	memoryPause     = time.Second // after a kill: its memory has to come back
)

// watchMemory runs until the daemon ends.
func (d *daemon) watchMemory() {
	limit := memoryThreshold
	if v, err := strconv.ParseFloat(os.Getenv("RAY_memory_usage_threshold"), 64); err == nil {
		limit = v
	}
	every := memoryEvery
	if ms, err := strconv.Atoi(os.Getenv("RAY_memory_monitor_refresh_ms")); err == nil {
		if ms <= 0 {
			return
		}
		every = time.Duration(ms) * time.Millisecond
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-t.C:
		}
		used, total := memoryUse()
		if total == 0 || float64(used) < limit*float64(total) {
			continue
		}
		text := fmt.Sprintf("memory of node %s is nearly full (%.1f of %.1f GB, threshold %.0f %%); the largest processes are %s. Use fewer tasks at once (num_cpus, memory=), smaller data, or a larger machine",
			d.cfg.NodeIP, gb(used), gb(total), 100*limit, largestProcesses(5))
		killed := false
		d.locked(func() { killed = d.endForMemory(text) })
		if killed {
			select {
			case <-d.ctx.Done():
				return
			case <-time.After(memoryPause):
			}
		}
	}
}

func gb(n uint64) float64 { return float64(n) / (1 << 30) }

// endForMemory kills one worker: of those that run something, one whose task
// may be retried, the newest first.
func (d *daemon) endForMemory(text string) bool {
	type candidate struct {
		w       *worker
		retry   bool
		started int64
	}
	var list []candidate
	for _, w := range d.workers {
		switch {
		case w.pw == nil || w.killed != "":
		case w.actor != nil:
			o := w.actor.tmpl.Actor
			list = append(list, candidate{w, o != nil && o.MaxRestarts != 0, w.start})
		case len(w.pw.InFlight()) > 0:
			r := w.pw.InFlight()[0].Data.(*run)
			list = append(list, candidate{w, r.spec.Tmpl.MaxRetries != 0, r.started})
		}
	}
	if len(list) == 0 {
		return false
	}
	slices.SortFunc(list, func(a, b candidate) int {
		if a.retry != b.retry {
			if a.retry {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.started, a.started)
	})
	w := list[0].w
	w.killed, w.oom = text, true
	d.log.Warn("worker is ended to free memory", "worker", w.id, "pid", w.pid, "why", text)
	d.procs.Kill(w.id)
	return true
}

// memoryUse is what is in use of the machine's memory, or of the control
// group's if that is limited to less.
func memoryUse() (used, total uint64) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	var available uint64
	for line := range bytes.Lines(text) {
		f := strings.Fields(string(line))
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseUint(f[1], 10, 64) // 0 for what is no number
		switch f[0] {
		case "MemTotal:":
			total = n << 10
		case "MemAvailable:":
			available = n << 10
		}
	}
	used = total - min(total, available)
	if limit := readNumber("/sys/fs/cgroup/memory.max"); limit > 0 && limit < total {
		inUse := readNumber("/sys/fs/cgroup/memory.current")
		return inUse - min(inUse, cacheOf("/sys/fs/cgroup/memory.stat")), limit
	}
	return used, total
}

func readNumber(path string) uint64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // "max" means no limit: 0
	return n
}

// cacheOf is the file cache that the kernel can drop.
func cacheOf(path string) uint64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if f := strings.Fields(string(line)); len(f) == 2 && f[0] == "inactive_file" {
			n, _ := strconv.ParseUint(f[1], 10, 64) // 0 if malformed
			return n
		}
	}
	return 0
}

// largestProcesses names the processes with the most resident memory.
func largestProcesses(n int) string {
	type proc struct {
		rss  uint64
		text string
	}
	var list []proc
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "statm"))
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(stat))
		if len(f) < 2 {
			continue
		}
		pages, _ := strconv.ParseUint(f[1], 10, 64) // 0 if malformed
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		rss := pages * uint64(os.Getpagesize())
		list = append(list, proc{rss, fmt.Sprintf("%s (pid %s, %.2f GB)", strings.TrimSpace(string(name)), filepath.Base(dir), gb(rss))})
	}
	slices.SortFunc(list, func(a, b proc) int { return cmp.Compare(b.rss, a.rss) })
	var out []string
	for _, p := range list[:min(n, len(list))] {
		out = append(out, p.text)
	}
	return strings.Join(out, ", ")
}
