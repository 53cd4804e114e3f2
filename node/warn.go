package node

import (
	"fmt"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/pool"
)

// warnAfter is how long tasks of a class wait, with none of them running,
// before their driver is told why.
const warnAfter = 5 * time.Second

// watchDisks tells the cluster, once each time, that the disks for spilled
// objects have filled. Only the ticker calls it.
func (d *daemon) watchDisks() {
	err := d.store.DisksFull()
	if was := d.disksFull; err == nil || was {
		d.disksFull = err != nil
		return
	}
	d.disksFull = true
	text := "Node " + d.self.String() + " has no disk for objects: " + err.Error() + ". Object creation will fail if spilling is required."
	d.log.Warn(text)
	d.head.notify(wire.MethodEvent, spec.Event{TimeMS: time.Now().UnixMilli(), Severity: "ERROR", Source: "node", Message: text})
}

// warnWaiting tells drivers of tasks that do not begin, once for each class
// until one of it has begun.
func (d *daemon) warnWaiting() {
	for _, row := range d.away {
		if row.warned || len(row.tasks) == 0 || time.Since(row.since) < warnAfter || row.reason == "" {
			continue
		}
		if len(row.slots) > 0 {
			row.since = time.Now() // others of its kind have places
			continue
		}
		row.warned = true
		d.warnClass(row.tasks[0], len(row.tasks), time.Since(row.since), row.class.place, row.reason)
	}
	limit := d.now() - warnAfter.Microseconds()
	d.pool.Classes(func(c *pool.Class) {
		info, _ := c.Data.(*class)
		if info == nil || c.Actor {
			return
		}
		if c.Queued() == 0 || c.Running > 0 {
			info.warned = false
			return
		}
		first := c.First()
		if info.warned || first.Queue > limit || len(d.pool.Lacks(c)) == 0 {
			return // an environment in the making is told of by tendEnvs
		}
		info.warned = true
		d.warnClass(first.Data.(*run), c.Queued(), time.Duration(d.now()-first.Queue)*time.Microsecond, info.need, d.whyQueued(first))
	})
}

func (d *daemon) warnClass(r *run, count int, since time.Duration, need spec.Resources, why string) {
	text := "The task " + r.spec.Tmpl.Name
	if count > 1 {
		text = fmt.Sprintf("%d tasks, the first is %s,", count, r.spec.Tmpl.Name)
	}
	d.warn(r.spec.ID.JobID(), fmt.Sprintf("%s %s been waiting for %s for %s: %s. See `ray why %s`.", text, plural(count, "has", "have"), need, roundTime(since), why, r.spec.ID.String()))
}

// warn prints a line at the driver of a job, wherever it is.
func (d *daemon) warn(id spec.JobID, text string) {
	batch := wire.LogBatch{Stream: "err", Kind: "raylet", IP: d.cfg.NodeIP, Lines: []string{text}}
	switch j := d.jobs[id]; {
	case j == nil:
	case j.driver != nil:
		d.toDriver(j.driver, batch)
	case !j.info.Driver.IsZero() && j.info.Driver != d.self:
		d.toPeer(j.info.Driver, func(b []byte) []byte { return wire.AppendJSON(b, pLog, remoteLog{id, batch}) })
	}
}
