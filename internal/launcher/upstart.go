package launcher

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"ray/internal/bootstrap"
	"ray/providers"
)

func (u *up) create(ctx context.Context) error {
	if u.head != nil {
		return nil
	}
	entries, err := readJournal(u.dir.path("journal.jsonl"))
	if err != nil {
		return err
	}
	filled, err := u.Config.LaunchHash(u.Config.HeadType)
	if err != nil {
		return err
	}
	token := headToken(entries)
	made, err := u.Provider.Create(ctx, providers.CreateRequest{
		Token: token, Type: u.Config.HeadType, Kind: providers.Head, Count: 1,
		Tags: map[string]string{
			providers.TagName: "ray-" + u.Config.Name + "-head", providers.TagLaunchHash: filled, providers.TagFileHash: u.launch,
		},
	})
	if err != nil {
		return err
	}
	if len(made) == 0 {
		return fmt.Errorf("a head was made for %s, and the provider's list does not show it yet: run `ray up` again, which takes it up", u.Config.Name)
	}
	u.head, u.fresh = &made[0], true
	u.theirs = made[0].Tags[providers.TagRequest] != "" && made[0].Tags[providers.TagRequest] != token
	u.Record.HeadID = made[0].ID
	return u.dir.remember(u.Record)
}

func (u *up) bootstrap(ctx context.Context) error {
	if u.host == nil {
		host, err := u.Provider.Host(ctx, u.head.ID)
		if err != nil {
			return err
		}
		u.host = host
	}
	n := u.node(*u.head, u.host)
	n.NoRestart = u.o.NoRestart && !u.fresh
	n.PlainShells = u.o.PlainShells
	n.RestartOnly = u.o.RestartOnly && !u.fresh
	n.BeforeStart = func(ctx context.Context) error {
		if !u.evict {
			return nil
		}
		u.say("Ending upstream's Ray on %s.", u.host)
		return endUpstream(ctx, u.inside(u.host), u.startPort())
	}
	switch {
	case u.fresh && u.Provider.Traits().Manual: // a machine that was there before
		n.Settled = func(ctx context.Context) (bool, error) { return false, u.askToEvict(ctx, u.host) }
	case u.theirs:
		n.Settled = func(ctx context.Context) (bool, error) {
			fit, err := bootstrap.Compare(ctx, n)
			if fit != bootstrap.Fits || err != nil {
				return false, err
			}
			_, alive, err := u.announced(ctx, u.host)
			return alive, err
		}
	}
	return bootstrap.Start(ctx, n, u.l.Progress)
}

func (u *up) address(ctx context.Context) error {
	a, err := findAddress(ctx, u.inside(u.host))
	if err != nil {
		return err
	}
	u.Record.Address, u.Record.Dashboard = u.publicAddress(*u.head, a.Address), a.Dashboard
	return u.dir.remember(u.Record)
}

// manual starts every listed worker at once, where the machines are there
// anyway and the head launches none.
func (u *up) manual(ctx context.Context) error {
	want := u.Config.MinWorkers()
	if !u.Provider.Traits().Manual || want == 0 {
		return nil
	}
	made, err := u.Provider.Create(ctx, providers.CreateRequest{
		Token: "workers", Type: u.Config.HeadType, Kind: providers.Worker, Count: want,
		Tags: map[string]string{providers.TagName: "ray-" + u.Config.Name + "-worker"},
	})
	if err != nil {
		return err
	}
	errs := make([]error, len(made))
	var wg sync.WaitGroup
	for n, inst := range made {
		wg.Go(func() { errs[n] = u.worker(ctx, inst) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (u *up) worker(ctx context.Context, inst providers.Instance) error {
	host, err := u.Provider.Host(ctx, inst.ID)
	if err != nil {
		return err
	}
	defer host.Close()
	return bootstrap.Start(ctx, u.node(inst, host), u.l.Progress)
}
