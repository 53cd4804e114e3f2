package launcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ray/internal/bootstrap"
	"ray/providers"
)

// DownOptions are the flags of down.
type DownOptions struct {
	WorkersOnly    bool
	KeepMinWorkers bool
	// AllResources removes also what the provider made besides machines.
	AllResources bool
}

const (
	// settle is the time between the two empty listings that end down: a
	// machine that was just being made shows in the second.
	settle = 200 * time.Millisecond
	// downLimit bounds down.
	downLimit = 10 * time.Minute
)

// Down ends the cluster's machines and forgets the cluster. It ends only when
// the provider twice says that nothing lives.
func (c *Cluster) Down(ctx context.Context, o DownOptions) error {
	head, workers, err := c.machines(ctx)
	if err != nil {
		return err
	}
	if head == nil && len(workers) == 0 && !c.dir.exists() && !o.AllResources {
		c.say("Nothing to do: cluster %s has no machines.", c.Config.Name)
		return nil
	}
	unlock, err := c.dir.lock(c.Config.Name, "down")
	if err != nil {
		return err
	}
	defer unlock()
	if head != nil || len(workers) > 0 {
		if err := c.ask(c.question(head, workers, o)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, downLimit)
	defer cancel()
	total, err := c.drainAll(ctx, o)
	if err != nil {
		return err
	}
	if o.WorkersOnly || o.KeepMinWorkers && c.Config.MinWorkers() > 0 {
		c.say("%d machine(s) of %s ended; the rest was kept as asked.", total, c.Config.Name)
		return nil
	}
	if err := c.cleanup(ctx, o); err != nil {
		return err
	}
	if err := c.l.store().forget(c.dir); err != nil {
		return err
	}
	if total == 0 {
		c.say("Cluster %s had no machines; what was kept of it is removed.", c.Config.Name)
		return nil
	}
	c.say("Cluster %s is down: %d machine(s) ended, none remains.", c.Config.Name, total)
	return nil
}

func (c *Cluster) question(head *providers.Instance, workers []providers.Instance, o DownOptions) string {
	var parts []string
	if head != nil && !o.WorkersOnly {
		parts = append(parts, "its head")
	}
	if len(workers) > 0 {
		parts = append(parts, fmt.Sprintf("%d worker(s)", len(workers)))
	}
	if len(parts) == 0 {
		parts = []string{"nothing that runs"}
	}
	return fmt.Sprintf("Take down cluster %s (%s): %s. Everything that runs on it ends. Go on?",
		c.Config.Name, c.Config.Provider.Type, strings.Join(parts, " and "))
}

// drainAll ends machines until two listings are empty, the head first, because
// it would launch workers anew. It gives how many it ended.
func (c *Cluster) drainAll(ctx context.Context, o DownOptions) (int, error) {
	ended := map[string]bool{}
	for empty := 0; empty < 2; {
		head, workers, err := c.machines(ctx)
		if err != nil {
			return len(ended), err
		}
		if head != nil && !o.WorkersOnly {
			if err := c.end(ctx, ended, []providers.Instance{*head}); err != nil {
				return len(ended), err
			}
			continue
		}
		if o.KeepMinWorkers {
			workers = c.beyondMin(workers)
		}
		if len(workers) > 0 {
			if err := c.end(ctx, ended, workers); err != nil {
				return len(ended), err
			}
			continue
		}
		if empty++; empty < 2 || c.unseen(ended) {
			select {
			case <-ctx.Done():
				return len(ended), ctx.Err()
			case <-time.After(settle):
			}
			empty = min(empty, 1)
		}
	}
	return len(ended), nil
}

// unseen tells whether a machine may come yet that was asked for not long ago.
func (c *Cluster) unseen(ended map[string]bool) bool {
	entries, err := readJournal(c.dir.path("journal.jsonl"))
	return err == nil && onTheWay(entries, ended, time.Now())
}

func (c *Cluster) end(ctx context.Context, ended map[string]bool, list []providers.Instance) error {
	var ids, types []string
	again := true
	for _, i := range list {
		ids, types = append(ids, i.ID), append(types, i.Type)
		again = again && ended[i.ID]
		ended[i.ID] = true
	}
	if again { // asked before and still there: give it time
		select {
		case <-ctx.Done():
			return fmt.Errorf("machines %s do not end: %w", strings.Join(ids, ", "), ctx.Err())
		case <-time.After(settle):
		}
	}
	slices.Sort(types)
	c.say("Ending %d machine(s): %s", len(ids), strings.Join(slices.Compact(types), ", "))
	c.stopContainers(ctx, list)
	err := c.Provider.Terminate(ctx, ids)
	if providers.CauseOf(err) == providers.Transient && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w; run `ray down` again", err)
	}
	return err
}

// stopContainers ends the nodes' containers on machines that stay. One that
// cannot be asked is left to Terminate to complain of.
func (c *Cluster) stopContainers(ctx context.Context, list []providers.Instance) {
	if !c.Provider.Traits().Manual {
		return
	}
	var wg sync.WaitGroup
	for _, i := range list {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			host, err := c.Provider.Host(ctx, i.ID)
			if err != nil {
				return
			}
			defer host.Close()
			_ = bootstrap.StopContainer(ctx, &bootstrap.Node{Config: c.Config, Instance: i, Host: host})
		})
	}
	wg.Wait()
}

// beyondMin are the workers that min_workers does not ask for, newest first.
func (c *Cluster) beyondMin(workers []providers.Instance) []providers.Instance {
	kept := map[string]int{}
	var out []providers.Instance
	for _, w := range workers {
		if kept[w.Type] < c.Config.NodeTypes[w.Type].Min {
			kept[w.Type]++
			continue
		}
		out = append(out, w)
	}
	return out
}
