package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"ray/node/machine"
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
	limit, every, err := d.cfg.memoryWatch()
	if err != nil {
		d.log.Warn("memory is watched with the usual limits", "err", err)
	}
	if every <= 0 {
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-t.C:
		}
		used, total := machine.Memory()
		if total == 0 || float64(used) < limit*float64(total) {
			continue
		}
		text := fmt.Sprintf("memory of node %s is nearly full (%.1f of %.1f GB, threshold %.0f %%); the largest processes are %s. Use fewer tasks at once (num_cpus, memory=), smaller data, or a larger machine",
			d.cfg.NodeIP, gb(used), gb(total), 100*limit, machine.Largest(5))
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

// memoryWatch reads upstream's keys for the monitor; a pause of 0 turns it off.
func (c *Config) memoryWatch() (limit float64, every time.Duration, err error) {
	limit, err = c.SystemNumber("memory_usage_threshold", memoryThreshold)
	ms, err2 := c.SystemNumber("memory_monitor_refresh_ms", float64(memoryEvery.Milliseconds()))
	if err != nil || limit <= 0 {
		limit = memoryThreshold
	}
	if err2 != nil {
		ms = float64(memoryEvery.Milliseconds())
	}
	return limit, time.Duration(ms * float64(time.Millisecond)), errors.Join(err, err2)
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
