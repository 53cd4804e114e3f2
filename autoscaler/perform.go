package autoscaler

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// perform does one action. It runs in a goroutine of its own.
func (r *Reconciler) perform(ctx context.Context, a Action) (result Result) {
	result.Action = a
	defer func() {
		// A provider that panics must not take the head down with it.
		if p := recover(); p != nil {
			result.Err = fmt.Errorf("%s of %s: internal error: %v", a.Kind, a.NodeType, p)
		}
	}()
	switch a.Kind {
	case ActLaunch:
		ctx, cancel := context.WithTimeout(ctx, launchLimit)
		defer cancel()
		result.Machines, result.Attempts, result.Err = r.o.Provider.Launch(ctx, a.NodeType, names(a.Instances), a.Ways)
		if result.Err != nil && ctx.Err() != nil {
			result.Err = fmt.Errorf("%w (%w)", ErrUnanswered, result.Err)
		}
	case ActInstall:
		result.Err = r.install(ctx, a.Instances[0])
	case ActDrain:
		inst := a.Instances[0]
		ctx, cancel := context.WithTimeout(ctx, drainLimit)
		defer cancel()
		d := Drain{Node: inst.NodeID, Reason: string(inst.StopCause), Busy: inst.Gentle}
		if !d.Busy {
			d.Deadline = time.Now().Add(r.manager.timing.Drain)
		}
		result.Err = r.o.Drainer.Drain(ctx, d)
	case ActTerminate, ActStop:
		ctx, cancel := context.WithTimeout(ctx, terminateLimit)
		defer cancel()
		var ids []string
		for _, inst := range a.Instances {
			ids = append(ids, inst.CloudID)
		}
		if a.Kind == ActStop {
			result.Err = r.o.Provider.Stop(ctx, ids)
		} else {
			result.Err = r.o.Provider.Terminate(ctx, ids)
		}
	case ActEnd:
		ctx, cancel := context.WithTimeout(ctx, terminateLimit)
		defer cancel()
		result.Err = r.o.Provider.EndHead(ctx)
	default:
		result.Err = errors.New("unknown action " + string(a.Kind))
	}
	return result
}

func names(instances []Instance) []string {
	var out []string
	for _, inst := range instances {
		out = append(out, inst.ID)
	}
	return out
}

func (r *Reconciler) install(ctx context.Context, inst Instance) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, r.manager.timing.Install)
	defer cancel()
	return r.o.Installer.Install(ctx, inst)
}

// finish hands a result to the next round. Results of a loop that is being
// closed are dropped, as they say only that they were cancelled: the rows say
// what was under way.
func (r *Reconciler) finish(ctx context.Context, result Result) {
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	r.results = append(r.results, result)
	r.mu.Unlock()
	r.Wake()
}

// listAnswer is the outcome of one listing.
type listAnswer struct {
	listing Listing
	err     error
}

// list asks the provider what exists, if it is time, beside the loop: every
// second while machines come and go, else every ListEvery.
func (r *Reconciler) list(ctx context.Context) {
	every := r.o.ListEvery
	moving := r.manager.Table().ids(func(i *Instance) bool { return i.State == Requested || i.State == Terminating || i.State == RayStopped })
	if len(moving) > 0 {
		every = min(every, time.Second)
	}
	if r.listing || time.Since(r.asked) < every {
		return
	}
	r.listing, r.asked = true, time.Now()
	begun := r.asked
	r.work.Go(func() {
		limited, cancel := context.WithTimeout(ctx, listLimit)
		defer cancel()
		machines, err := r.safeList(limited)
		r.mu.Lock()
		r.listed = &listAnswer{Listing{Begun: begun, Machines: machines}, err}
		r.mu.Unlock()
		r.Wake()
	})
}

func (r *Reconciler) safeList(ctx context.Context) (machines []Machine, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	return r.o.Provider.List(ctx)
}
