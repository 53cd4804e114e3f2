package launcher

import (
	"context"
	"fmt"
	"strings"

	"ray/internal/bootstrap"
	"ray/internal/sshx"
	"ray/providers"
)

// Change is one thing that `ray up` would do.
type Change struct {
	Action   string `json:"action"` // create, adopt, replace, set-up, start, update or terminate
	What     string `json:"what"`
	Count    int    `json:"count"`
	Why      string `json:"why"`
	Disturbs string `json:"disturbs,omitempty"` // whom; empty is nobody
}

// Plan is what `ray up` would do; no changes means nothing.
type Plan struct {
	Cluster  string   `json:"cluster"`
	Provider string   `json:"provider"`
	Changes  []Change `json:"changes"`
	Cost     Cost     `json:"cost_per_hour"`
	// Steps are those of `ray up`, in order; each looks before it acts.
	Steps []string `json:"steps"`
}

const everything = "everything that runs on the cluster ends"

// Plan finds out what Up would do, and changes nothing.
func (c *Cluster) Plan(ctx context.Context) (Plan, error) {
	p := Plan{Cluster: c.Config.Name, Provider: c.Config.Provider.Type, Changes: []Change{}}
	for _, s := range upSteps() {
		p.Steps = append(p.Steps, s.title)
	}
	u := &up{Cluster: c}
	err := u.checkKey()
	if err != nil {
		return p, err
	}
	if u.launch, err = c.file.LaunchHash(c.file.HeadType); err != nil {
		return p, err
	}
	if u.head, u.workers, err = c.machines(ctx); err != nil {
		return p, err
	}
	if err = u.foresee(ctx); err != nil {
		return p, err
	}
	table, err := c.l.priceTable()
	if err != nil {
		return p, err
	}
	live := u.workers
	if u.head != nil {
		live = append([]providers.Instance{*u.head}, live...)
	}
	p.Cost = costOf(c.Config, table, live)
	p.Changes, err = u.changes(ctx)
	return p, err
}

func (u *up) changes(ctx context.Context) ([]Change, error) {
	out := []Change{}
	head := Change{What: "head " + u.Config.HeadType, Count: 1}
	if u.head == nil {
		head.Action, head.Why = "create", "no head is there"
		return append(append(out, head), u.minWorkers()...), nil
	}
	if u.head.State == providers.Stopped && u.fits() {
		head.Action, head.Why = "start", "the machine is stopped"
		return u.replaced(head), nil
	}
	if !u.head.State.Up() {
		head.Action, head.Why = "replace", "the head's machine is stopped"
		return u.replaced(head), nil
	}
	if !u.fits() {
		head.Action, head.Why, head.Disturbs = "replace", "the machine's description has changed", everything
		return u.replaced(head), nil
	}
	host, err := u.Provider.Host(ctx, u.head.ID)
	if err != nil {
		return nil, err
	}
	defer host.Close()
	fit, err := bootstrap.Compare(ctx, u.node(*u.head, host))
	if err != nil {
		return nil, err
	}
	_, alive, err := u.announced(ctx, host)
	switch {
	case err != nil:
		return nil, err
	case !alive:
		return u.started(ctx, head, host)
	case u.takesOver(fit):
		return append(out, Change{Action: "update", What: "workers", Count: len(u.workers),
			Why: "what concerns them has changed; the head goes on, a few workers at a time are set up again or replaced"}), nil
	case fit != bootstrap.Fits:
		head.Action, head.Why, head.Disturbs = "set-up", "the cluster file has changed", everything
		return u.replaced(head), nil
	}
	return out, nil
}

// started are the changes when the machine is there and no head runs on it.
func (u *up) started(ctx context.Context, head Change, host sshx.Host) ([]Change, error) {
	head.Action, head.Why = "start", "the machine is there, but no head runs on it"
	where, err := u.whereHeadRuns(ctx, host)
	if err != nil {
		return nil, err
	}
	runs, err := lookForUpstream(ctx, where, u.startPort())
	if err != nil {
		return nil, err
	}
	if len(runs.processes) > 0 || madeByUpstream(u.head) {
		head.Action, head.Why = "adopt", "upstream's launcher made the machine, which is kept and set up"
	}
	if len(runs.processes) > 0 {
		head.Disturbs = "upstream's Ray stops there; " + runs.ends()
	}
	return u.replaced(head), nil
}

// replaced are the changes when the head ends and comes back.
func (u *up) replaced(head Change) []Change {
	out := []Change{head}
	if n := len(running(u.workers)); n > 0 {
		out = append(out, Change{Action: "terminate", What: "workers", Count: n, Why: "they would not find the new head", Disturbs: head.Disturbs})
	}
	return append(out, u.minWorkers()...)
}

// minWorkers are the workers that the head, or for hosts that are there anyway
// the launcher, starts at once.
func (u *up) minWorkers() []Change {
	var out []Change
	for _, name := range u.Config.TypeNames() {
		n := u.Config.NodeTypes[name].Min
		old := 0
		for _, w := range u.workers {
			if w.State == providers.Stopped && w.Type == name && old < n {
				old++
			}
		}
		if old > 0 {
			out = append(out, Change{Action: "start", What: "worker " + name, Count: old, Why: "min_workers asks for them, and they are stopped"})
		}
		if n > old {
			out = append(out, Change{Action: "create", What: "worker " + name, Count: n - old, Why: "min_workers asks for them"})
		}
	}
	return out
}

// String is the plan for people.
func (p Plan) String() string {
	if len(p.Changes) == 0 {
		return fmt.Sprintf("Nothing to do: cluster %s fits the file.\n%s\n", p.Cluster, p.Cost)
	}
	text := fmt.Sprintf("`ray up` would change cluster %s (%s):\n", p.Cluster, p.Provider)
	for _, c := range p.Changes {
		text += fmt.Sprintf("  %-9s %d × %s: %s", c.Action, c.Count, c.What, c.Why)
		if c.Disturbs != "" {
			text += "; " + c.Disturbs
		}
		text += "\n"
	}
	return text + p.Cost.String() + "\nSteps: " + strings.Join(p.Steps, "; ") + ".\n"
}
