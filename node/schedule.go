package node

import (
	"encoding/json"
	"strings"

	"ray/internal/scheduler"
	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/pool"
	"ray/node/runtimeenv"
)

// class is what the daemon derives once from a template.
type class struct {
	pool    *pool.Class
	need    spec.Resources // rewritten for a placement group
	place   spec.Resources // needed to be placed
	plain   bool           // of the strategy DEFAULT
	local   bool           // may run here without asking the head
	pinned  spec.NodeID    // hard affinity to this node
	row     string         // key of its row, if it must ask
	lease   leaseInfo
	noSpill bool
	foreign bool // this node's labels do not match
	warned  bool // its driver knows that it waits
	toData  map[spec.NodeID]*burst
	home    // of the class in the pool
	spare   spareState
}

type leaseInfo struct {
	pg      spec.PlacementGroupID
	capture bool
}

// classify caches the scheduling class of a template.
func (d *daemon) classify(j *job, t *owner.Template) *class {
	c := &class{need: t.Resources.Clone(), place: t.Placement.Clone()}
	if c.need == nil {
		c.need = spec.Resources{}
	}
	if len(c.place) == 0 {
		c.place = c.need
	}
	st := &t.Strategy
	switch st.Kind {
	case spec.StrategyPlacementGroup:
		c.need = pool.GroupResources(c.need, st.PlacementGroup, st.Bundle)
		c.place = pool.GroupResources(c.place, st.PlacementGroup, st.Bundle)
		c.lease = leaseInfo{st.PlacementGroup, st.CaptureChildren}
		c.local = true
	case spec.StrategyNodeAffinity:
		c.pinned = st.NodeID
		c.local = st.NodeID == d.self
		c.noSpill = c.local && !st.Soft
	case "", spec.StrategyDefault:
		c.plain = true
		_, c.local = scheduler.MatchLabels(d.cfg.Labels, t.LabelSelector)
		c.foreign = !c.local
	}
	text, _ := json.Marshal([]any{t.Strategy, t.LabelSelector, t.Fallback}) // plain values always encode
	if t.Kind != spec.KindActorCall {
		variant := string(text)
		if (st.Kind == "" || st.Kind == spec.StrategyDefault) && len(t.LabelSelector) == 0 {
			variant = ""
		}
		c.pool = d.pool.Class(d.workerKey(j, t), c.need, t.Kind == spec.KindActorCreate, variant)
		c.beyond = c.pool.Leased
		if c.pool.Data == nil {
			c.pool.Data = c
		}
	}
	c.row = string(text)
	if c.pool != nil {
		c.row += c.pool.Name()
	}
	t.Class = c
	return c
}

// workerKey says which workers can run a template.
func (d *daemon) workerKey(j *job, t *owner.Template) pool.Key {
	k := d.plainKey(j)
	if len(t.RuntimeEnv) > 0 && string(t.RuntimeEnv) != "null" && string(t.RuntimeEnv) != "{}" {
		k.Env = d.envKey(t.RuntimeEnv)
	}
	k.Root = t.Root
	if t.Actor != nil && t.Actor.Detached && k.Root.IsZero() {
		// Whatever its number will be: a worker of this key survives the job.
		copy(k.Root[:], detachedKey)
	}
	return k
}

// detachedKey stands in keys of workers for a detached actor that a driver makes.
const detachedKey = "detached"

func (d *daemon) plainKey(j *job) pool.Key {
	k := pool.Key{Job: j.id, Python: j.info.Python}
	if h := j.info.Hello; h != nil && len(h.RuntimeEnv) > 0 && string(h.RuntimeEnv) != "null" && string(h.RuntimeEnv) != "{}" {
		k.Env = d.envKey(h.RuntimeEnv)
	}
	return k
}

// envKey names a runtime environment by its content.
func (d *daemon) envKey(text json.RawMessage) string {
	key := runtimeenv.Key(text)
	if key != "" {
		d.envs[key] = text
	}
	return key
}

// schedule finds a place for a task whose dependencies are there.
func (d *daemon) schedule(t *owner.Task) {
	r, ok := t.Run.(*run)
	if !ok || r.over || r.task != t {
		// a further attempt after the record of the first was dropped
		r = &run{task: t, spec: &t.Spec}
		t.Run = r
	}
	r.attempt = t.Attempt
	c := t.Tmpl.Class.(*class)
	if j := d.jobs[t.ID.JobID()]; j != nil && j.dead && !t.ID.IsActorTask() && t.Tmpl.Root.IsZero() {
		d.own.FailAlone(t, &spec.ErrorInfo{Type: "TaskCancelledError", Message: "task " + t.Tmpl.Name + " belongs to a job that has ended"})
		return
	}
	if why := d.neverHere(c, t); why != "" && d.drain == nil {
		d.own.FailAlone(t, unschedulable(t.Tmpl.Name, why))
		return
	}
	if d.sendToData(c, r) {
		return
	}
	if c.local && (c.noSpill || d.pool.Feasible(c.pool)) && d.drain == nil && !d.spares(c) {
		d.runHere(r)
		return
	}
	d.askPlace(c, r)
}

// boundTo begins the reasons of tasks with hard node affinity, as upstream does.
const boundTo = "The node specified via NodeAffinitySchedulingStrategy doesn't exist any more or is infeasible, and soft=False was specified"

// neverHere says why a task that is bound to this node cannot run, or "".
func (d *daemon) neverHere(c *class, t *owner.Task) string {
	switch {
	case !c.noSpill:
	case !d.pool.Feasible(c.pool):
		return boundTo + ": this node never has " + c.need.String()
	case t.Tmpl.Strategy.FailOnUnavailable && !d.pool.Fits(c.pool):
		return "this node, to which it is bound, is busy, and _fail_on_unavailable=True was specified: " + strings.Join(d.pool.Lacks(c.pool), ", ")
	}
	return ""
}

// runHere brings the arguments of a run here and queues it.
func (d *daemon) runHere(r *run) {
	d.runs[r.spec.ID] = r
	r.Task.Class = r.spec.Tmpl.Class.(*class).pool
	r.Task.Data = r
	if parent := d.runs[r.spec.Parent]; parent != nil {
		r.Task.Depth = parent.Depth + 1
	}
	r.over = false
	d.queueRun(r)
}

// needArg makes sure that an argument is in this node's memory until the run ends.
func (d *daemon) needArg(r *run, dep spec.Ref) {
	o := d.own.Object(dep.ID)
	if o != nil && o.Where == owner.Inline {
		return
	}
	r.missing++
	if d.own.Bring(dep, argOf{r, r.attempt}) {
		return
	}
	d.pinArg(r, dep.ID)
}

type argOf struct {
	run     *run
	attempt int
}

// argHere is called for an argument that had to be brought.
func (d *daemon) argHere(token any, o *owner.Object) {
	switch a := token.(type) {
	case argOf:
		if a.run.over || a.run.attempt != a.attempt || a.run.missing == 0 {
			return
		}
		if o.Where == owner.Inline {
			if o.Err {
				a.run.failed = o
			}
			d.argIn(a.run)
			return
		}
		d.pinArg(a.run, o.ID)
	case func(*owner.Object):
		a(o)
	}
}

// pinArg keeps an argument in memory (restoring it from disk if need be).
func (d *daemon) pinArg(r *run, id spec.ObjectID) {
	attempt := r.attempt
	d.storeGet(0, id, func(_, _ uint64, err error) {
		if err == nil && (r.over || r.attempt != attempt) {
			d.store.Unpin(0, id, 1)
			return
		}
		if r.over || r.attempt != attempt || r.missing == 0 {
			return
		}
		if err == nil {
			r.held = append(r.held, id)
		} else if d.copyLost(id, err) && d.argAgain(r, id) {
			return
		}
		d.argIn(r)
	})
}

// argAgain has an argument whose copy here is lost brought or made again;
// false if there is nothing to wait for.
func (d *daemon) argAgain(r *run, id spec.ObjectID) bool {
	for _, dep := range r.spec.Deps {
		if dep.ID == id {
			return d.own.Bring(dep, argOf{r, r.attempt})
		}
	}
	return false
}

func (d *daemon) argIn(r *run) {
	if r.missing--; r.missing == 0 {
		d.argsHere(r)
	}
}

// storeGet is store.Get whose callback always runs under the daemon's lock.
func (d *daemon) storeGet(client uint32, id spec.ObjectID, f func(off, size uint64, err error)) {
	type result struct {
		off, size uint64
		err       error
	}
	ch := make(chan result, 1)
	d.store.Get(client, id, func(off, size uint64, err error) { ch <- result{off, size, err} })
	select {
	case r := <-ch:
		f(r.off, r.size, r.err)
	default:
		d.tasks.Go(func() {
			r := <-ch
			d.locked(func() { f(r.off, r.size, r.err) })
		})
	}
}

// argsHere: all arguments are in memory; an error among them ends the task.
func (d *daemon) argsHere(r *run) {
	if o := d.failedArg(r); o != nil {
		v := owner.Value{Where: owner.Inline, Err: true, Blob: wire.ErrorBlob(owner.ArgumentError(r.spec.Tmpl.Name, o))}
		d.endRun(r, outcome{status: owner.StatusError, results: []owner.Result{{Value: v}}})
		return
	}
	if r.spec.Kind == owner.KindCall {
		d.callReady(r)
		return
	}
	d.pool.Add(&r.Task, d.now())
	if d.pool.Queued() > 0 {
		d.wakeTicker()
	}
}

// failedArg is an argument that is an error, or that could not be brought here.
func (d *daemon) failedArg(r *run) *owner.Object {
	if r.failed != nil {
		return r.failed
	}
	for _, dep := range r.spec.Deps {
		if o := d.own.Object(dep.ID); o != nil && o.Err && o.Where == owner.Inline {
			return o
		}
	}
	return nil
}
