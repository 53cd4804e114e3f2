package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/machine"
	"ray/node/owner"
	"ray/node/pool"
)

// after runs f once later, unless the daemon ends first.
func (d *daemon) after(wait time.Duration, f func()) {
	d.goes(func() {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			f()
		case <-d.ctx.Done():
		}
	})
}

// goes starts a goroutine that the daemon waits for; false once it ends.
func (d *daemon) goes(f func()) bool {
	if d.ctx.Err() != nil {
		return false
	}
	d.tasks.Go(f)
	return true
}

// wakeTicker makes the ticker fast while tasks are queued or run.
func (d *daemon) wakeTicker() {
	if d.ticking {
		return
	}
	d.ticking = true
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// tick is the daemon's clock: recall of waiting tasks, rows for the head,
// heartbeats, idle workers.
func (d *daemon) tick() {
	fast := time.NewTimer(time.Hour)
	slow := time.NewTicker(time.Second)
	defer fast.Stop()
	defer slow.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.wake:
			fast.Reset(tickEvery)
		case <-fast.C:
			again := false
			d.locked(func() {
				d.pool.Tick(d.now())
				d.report(time.Now())
				d.ticking = d.waitsHere() || d.pool.Running() > 0 || d.waitsAway() || d.placesSent || d.beatDue()
				again = d.ticking
			})
			if again {
				fast.Reset(tickEvery)
			}
		case <-slow.C:
			kills := machine.OOMKills()
			d.locked(func() {
				d.oomKills.Look(time.Now(), kills)
				d.pool.Reap(d.now(), func(k pool.Key) bool { j := d.jobs[k.Job]; return j == nil || j.dead })
				d.forgetClasses()
				d.warnWaiting()
				if d.pastDeadline(time.Now()) {
					d.stop(errShutdown)
				}
				d.tendEnvs(time.Now())
				d.placesDue = d.placesDue || len(d.away) > 0
				d.settleEstate(time.Now())
				d.lookForGarbage(time.Now())
				d.report(time.Now())
				if d.waitsHere() || d.beatDue() {
					d.wakeTicker()
				}
			})
			d.store.Trim()
			d.watchDisks()
			d.ebb()
		}
	}
}

// waitsHere tells whether tasks on this node have no worker.
func (d *daemon) waitsHere() bool { return d.pool.Queued() > 0 || len(d.adm.homes) > 0 }

func (d *daemon) waitsAway() bool {
	for _, row := range d.away {
		if len(row.tasks) > 0 {
			return true
		}
	}
	return false
}

func (d *daemon) beatDue() bool { return d.beatChanged }

// report tells the head what changed: the state of this node, and the rows
// that want a place.
func (d *daemon) report(now time.Time) {
	if d.down {
		return
	}
	if d.waitsHere() || d.placesDue || d.placesSent {
		if now.Sub(d.lastPlaces) >= placesEvery {
			d.lastPlaces, d.placesDue = now, false
			p := d.places()
			text, _ := json.Marshal(p) // plain values
			if !bytes.Equal(text, d.placesText) || (len(p.Rows) > 0 && now.Sub(d.placesAt) > time.Second) {
				d.placesText, d.placesAt = text, now
				d.placesSent = len(p.Rows) > 0
				d.head.notify(wire.MethodPlaces, json.RawMessage(text))
			}
		}
	}
	since := now.Sub(d.lastBeat)
	if since < heartbeatFloor {
		d.beatChanged = true // look again when it may be sent
		return
	}
	hb := d.heartbeat(now)
	// What the scheduler decides by is told at once, the rest now and then.
	text, _ := json.Marshal([]any{hb.Total, d.pool.Available(), len(hb.Activity), hb.Draining, hb.Heir, hb.Arrivals}) // plain values
	d.beatChanged = false
	wait := heartbeatCeil - 50*time.Millisecond
	if len(hb.Queue) > 0 {
		wait = 200 * time.Millisecond
	}
	if bytes.Equal(text, d.beatText) && since < wait {
		return
	}
	d.beatText, d.lastBeat = text, now
	d.beatSeq++
	delta := hb.Since(d.beatSent, d.beatSeq)
	d.beatSent = &hb
	d.head.async(wire.MethodHeartbeat, delta, nil, func(r wire.Reply, err error) { d.beatAnswered(now, r, err) })
}

// beatAnswered renews the lease. Without the lock.
func (d *daemon) beatAnswered(sent time.Time, r wire.Reply, err error) {
	if err == nil {
		err = r.Err()
	}
	var reply wire.HeartbeatReply
	if err == nil && json.Unmarshal(r.JSON, &reply) == nil && reply.Unknown {
		d.stop(fmt.Errorf("%w: it has declared it dead", errCutOff))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil || reply.Resend {
		d.beatSent = nil
	}
	if err == nil {
		d.lease.renew(sent)
	}
}

// beat sends a heartbeat at once: the head counts what it has placed here as
// taken until it hears of it.
func (d *daemon) beat() {
	d.beatText, d.lastBeat = nil, time.Time{}
	d.report(time.Now())
}

func (d *daemon) heartbeat(now time.Time) wire.Heartbeat {
	hb := wire.Heartbeat{Total: d.pool.Total(), Available: d.pool.Available(), Draining: d.drain != nil, Heir: d.heir(), Arrivals: d.arrivals}
	if store, declared := hb.Available[spec.ObjectStoreMemory]; declared {
		hb.Available[spec.ObjectStoreMemory] = max(0, store-spec.ToFixed(float64(d.store.Stats().Used)))
	}
	hb.GroupReserved, hb.GroupUsed = d.pool.GroupUse()
	hb.Bandwidth = d.fetcher.Rates()
	d.pool.Classes(func(c *pool.Class) {
		if n, _ := d.queued(c); n+c.Running > 0 {
			hb.Queue = append(hb.Queue, wire.QueueRow{Key: c.Name(), Resources: c.Need, Queued: n, Running: c.Running, MeanMicros: int64(c.Expected(d.now())), Actor: c.Actor})
		}
	})
	hb.Activity = d.activity(d.drain != nil || now.Sub(d.held.at) >= countEvery)
	if len(hb.Activity) == 0 {
		hb.IdleMS = max(1, now.Sub(d.lastBusy).Milliseconds())
	} else {
		d.lastBusy = now
	}
	return hb
}

// held counts objects that keep the node from being idle, and says when.
type held struct {
	primary, borrowed int
	at                time.Time
}

// countEvery bounds how often all objects are looked at for a heartbeat.
const countEvery = 250 * time.Millisecond

func (d *daemon) countHeld() {
	primary, borrowed := 0, 0
	d.own.Objects(func(o *owner.Object) bool {
		_, _, b := o.Pinned()
		if b > 0 {
			borrowed++
		}
		if o.Where == owner.Arena && o.Primary {
			primary++
		}
		return primary+borrowed < 1000
	})
	d.held = held{primary, borrowed, time.Now()}
}

// activity says why the node is not idle; count looks at the objects again.
func (d *daemon) activity(count bool) (out []string) {
	for _, r := range d.envMaker.Making() {
		out = append(out, "makes the runtime environment "+r.Title+": "+r.Progress)
	}
	if n := d.tasksHere(); n > 0 {
		out = append(out, fmt.Sprintf("%d tasks run or wait", n))
	}
	if n := len(d.hosted); n > 0 {
		out = append(out, counted(n, "actor lives here", "actors live here"))
	}
	drivers := 0
	for _, c := range d.clients {
		if c.worker == nil {
			drivers++
		}
	}
	if drivers > 0 {
		out = append(out, counted(drivers, spec.OneDriver, spec.ManyDrivers))
	}
	if count {
		d.countHeld()
	}
	if d.held.primary > 0 {
		out = append(out, fmt.Sprintf("%d objects have their primary copy here", d.held.primary))
	}
	for _, text := range []string{d.lastWords(), d.leaves()} {
		if text != "" {
			out = append(out, text)
		}
	}
	if d.held.borrowed > 0 {
		out = append(out, fmt.Sprintf("%d objects owned here are referenced from other nodes", d.held.borrowed))
	}
	return out
}

// info is what this node tells about itself.
func (d *daemon) info() spec.NodeInfo {
	return spec.NodeInfo{ID: d.self, Name: d.cfg.NodeName, IP: d.cfg.NodeIP, Hostname: d.hostname, Address: d.address, Instance: d.cfg.Instance,
		NodeType: d.cfg.NodeType, Head: d.cfg.Head, PID: d.pid, Total: d.pool.Total(), Labels: d.cfg.Labels, Pythons: d.pythons,
		SessionDir: d.cfg.SessionDir, MetricsAddress: d.metricsAddress, StartMS: d.start.UnixMilli(), Version: version}
}

// ownedActors adds the actors whose creation is owned here.
func (d *daemon) ownedActors(req *wire.RegisterRequest) {
	d.own.Actors(func(a *owner.Actor) {
		if a.Creation == nil || a.State == spec.ActorDead {
			return
		}
		t := a.Creation
		c := t.Tmpl.Class.(*class)
		info := a.Info
		if info.State == "" {
			info.State = spec.ActorPending
		}
		info.ID, info.JobID, info.Owner = a.ID, a.ID.JobID(), d.self
		if t.Tmpl.Actor != nil {
			info.Options = *t.Tmpl.Actor
		}
		req.Owned = append(req.Owned, wire.ActorCreate{Info: info, Placement: c.place, Strategy: t.Tmpl.Strategy,
			LabelSelector: t.Tmpl.LabelSelector, Fallback: t.Tmpl.Fallback})
	})
}

// rewatch asks a new head for the actors that this node watches.
func (d *daemon) rewatch() {
	d.own.Actors(func(a *owner.Actor) {
		if a.State != "" && a.State != spec.ActorDead {
			d.watchActor(a.ID)
		}
	})
	d.placesText = nil
	d.placesDue = true
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
