package launcher

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ray/internal/bootstrap"
	"ray/internal/cluster"
	"ray/internal/session"
	"ray/internal/sshx"
	"ray/providers"
)

// UpOptions are the flags of up.
type UpOptions struct {
	NoRestart   bool
	RestartOnly bool
	Wait        bool // until min_workers have joined
	// PlainShells runs commands without the user's start-up files.
	PlainShells bool
	// Remove ends what this run has made if it fails; else it is kept, for a
	// look or another try.
	Remove bool
}

// errSame ends a list of steps early: nothing needs to be done.
var errSame = errors.New("up to date")

// errDeclined is the answer "no" to a question.
var errDeclined = errors.New("nothing was changed")

// up is one run of the verb.
type up struct {
	*Cluster
	o       UpOptions
	head    *providers.Instance
	workers []providers.Instance
	host    sshx.Host
	launch  string // launch hash of the head's type
	fresh   bool   // the head was made by this run
	theirs  bool   // or by another launcher at the same time
	evict   bool   // upstream's runtime on the machine may end
}

// upSteps is the verb, in order.
func upSteps() []step[*up] {
	return []step[*up]{
		{"Preparing the cluster's state", (*up).prepare},
		{"Looking for the head", (*up).look},
		{"Asking the provider for what the file leaves open", (*up).provide},
		{"Comparing the head with the cluster file", (*up).compare},
		{"Making the head's machine", (*up).create},
		{"Setting up the head", (*up).bootstrap},
		{"Finding the head's address", (*up).address},
		{"Starting the listed workers", (*up).manual},
	}
}

// Up makes the cluster what its file says. It is safe to repeat: a cluster
// that fits already is left alone.
func (c *Cluster) Up(ctx context.Context, o UpOptions) error {
	unlock, err := c.dir.lock(c.Config.Name, "up")
	if err != nil {
		return err
	}
	defer unlock()
	c.say("Cluster: %s (%s)", c.Config.Name, c.Config.Provider.Type)
	u := &up{Cluster: c, o: o}
	defer func() {
		if u.host != nil {
			_ = u.host.Close()
		}
	}()
	err = runSteps(ctx, u, upSteps(), c.l.Step)
	switch {
	case errors.Is(err, errSame):
		c.say("Nothing to do: the head runs at %s and fits %s.", c.Record.Address, c.Config.Source)
	case err != nil:
		return u.failed(ctx, err)
	}
	if err := c.l.store().use(c.dir); err != nil {
		return err
	}
	if o.Wait {
		if err := u.wait(ctx); err != nil {
			return err
		}
	}
	if !errors.Is(err, errSame) {
		if c.l.Quiet != nil {
			c.l.Quiet()
		}
		u.summary()
	}
	return nil
}

// prepare makes what must be there before the first machine: the token, the
// record by which `down` finds the cluster.
func (u *up) prepare(context.Context) error {
	if err := u.checkKey(); err != nil {
		return err
	}
	if err := u.dir.makeToken(); err != nil {
		return err
	}
	if _, ok := u.preparer(); !ok || u.Record.FileHash == "" {
		if err := u.dir.keep(u.Config); err != nil {
			return err
		}
	}
	u.warn()
	u.Record.Name, u.Record.Provider, u.Record.File = u.Config.Name, u.Config.Provider.Type, u.Config.Source
	return u.dir.remember(u.Record)
}

// checkKey reads the file's own key before a machine is made that only it opens.
func (u *up) checkKey() error {
	path := u.file.Auth.PrivateKey
	if path == "" || u.Provider.Traits().SharedMachine {
		return nil
	}
	err := sshx.CheckKey(cluster.ExpandHome(path))
	if err == nil {
		return nil
	}
	return cluster.Problems{u.file.Problem("auth.ssh_private_key",
		fmt.Sprintf("%v; name a private key file that you can read (not its .pub), or leave it out", err))}
}

// warn tells of start commands that will not do what was likely meant, and of
// fields whose wish is not fulfilled.
func (u *up) warn() {
	if u.Config.Provider.Bool("cache_stopped_nodes", false) {
		u.say("Warning: provider.cache_stopped_nodes: idle workers are terminated, not stopped. To stop the whole cluster, see auto_stop.")
	}
	if on, _ := u.Config.Document()["file_mounts_sync_continuously"].(bool); on {
		u.say("Warning: file_mounts_sync_continuously: changed files reach the cluster with the next `ray up`, or by `ray rsync-up -A`.")
	}
	all := strings.Join(u.Config.HeadStart, "\n")
	switch {
	case !strings.Contains(all, "ray start"):
		u.say("Warning: no command of head_start_ray_commands contains `ray start`.")
	case !strings.Contains(all, "--autoscaling-config") && !u.Provider.Traits().Manual:
		u.say("Warning: `ray start` in head_start_ray_commands lacks --autoscaling-config=%s: the head will start no workers.", cluster.BootstrapPath)
	}
}

func (u *up) look(ctx context.Context) (err error) {
	// Of the file as it was written: what a provider fills in may differ from
	// one day and one laptop to the next.
	if u.launch, err = u.file.LaunchHash(u.file.HeadType); err != nil {
		return err
	}
	u.head, u.workers, err = u.machines(ctx)
	if err != nil || u.head == nil {
		return err
	}
	if u.head.State == providers.Stopping && u.Config.AutoStop.Keeps() {
		if err := u.awaitStop(ctx); err != nil || u.head == nil {
			return err
		}
	}
	if u.head.State == providers.Stopping {
		// A `down` or a relaunch was cut off: finish it.
		err = u.Provider.Terminate(ctx, []string{u.head.ID})
		u.head = nil
	}
	return err
}

// compare decides what a head that is there needs.
func (u *up) compare(ctx context.Context) error {
	if u.head == nil {
		u.say("No head is there. Launching a new one.")
		return nil
	}
	if !u.fits() {
		if u.head.State == providers.Stopped {
			u.say("The head's machine is stopped and does not fit the file any more. Replacing it.")
			return u.clear(ctx, true)
		}
		if err := u.ask("The head's machine does not fit the file any more. Replace it? Everything that runs on the cluster ends."); err != nil {
			return err
		}
		return u.clear(ctx, true)
	}
	if u.head.State == providers.Stopped {
		return u.restart(ctx)
	}
	host, err := u.Provider.Host(ctx, u.head.ID)
	if err != nil {
		return err
	}
	u.host = host
	fit, err := bootstrap.Compare(ctx, u.node(*u.head, host))
	if err != nil {
		return err
	}
	a, alive, err := u.announced(ctx, host)
	if err != nil {
		return err
	}
	switch {
	case fit == bootstrap.Fits && alive && !u.o.RestartOnly:
		u.Record.HeadID, u.Record.Address = u.head.ID, u.publicAddress(*u.head, a.Address)
		if err := u.dir.remember(u.Record); err != nil {
			return err
		}
		return errSame
	case !alive:
		if err := u.askToEvict(ctx, host); err != nil {
			return err
		}
		u.say("The head's machine is there, but no head runs on it. Setting it up again.")
		u.o.NoRestart = false
		return u.clear(ctx, false)
	case u.takesOver(fit) && !u.o.RestartOnly:
		u.say("What has changed concerns the workers alone: the head takes it over as it runs, and changes a few workers at a time.")
		u.o.NoRestart = true
		return nil
	case u.o.NoRestart:
		return nil
	}
	if err := u.ask("The cluster file has changed. Set up the head again and restart it? Everything that runs on the cluster ends."); err != nil {
		return err
	}
	return u.clear(ctx, false)
}

// takesOver tells whether a head that runs can make the change by itself.
func (u *up) takesOver(fit bootstrap.Fit) bool {
	return fit == bootstrap.HeadFits && !u.Provider.Traits().Manual
}

// inside is where the head runs on its machine.
func (u *up) inside(host sshx.Host) sshx.Host {
	n := u.node(*u.head, host)
	return bootstrap.Inside(&n)
}

// announced reads what the head on the machine says of itself; a container
// that does not run says nothing.
func (u *up) announced(ctx context.Context, host sshx.Host) (session.Announcement, bool, error) {
	n := u.node(*u.head, host)
	if runs, err := bootstrap.ContainerRuns(ctx, &n); err != nil || !runs {
		return session.Announcement{}, false, err
	}
	return announced(ctx, bootstrap.Inside(&n))
}

// clear ends the workers, which would not find a head that comes back at
// another address, and the head's machine if asked.
func (u *up) clear(ctx context.Context, headToo bool) error {
	var ids []string
	if headToo {
		ids = append(ids, u.head.ID)
		u.head = nil
	}
	for _, w := range running(u.workers) {
		ids = append(ids, w.ID)
	}
	if u.workers = nil; len(ids) == 0 {
		return nil
	}
	return u.Provider.Terminate(ctx, ids)
}

func (u *up) summary() {
	name := ""
	if f := u.Config.Source; f != "standard input" {
		name = " " + sshx.Quote(f)
	}
	u.say("The head runs at %s. Cluster %s is now the current one.", u.Record.Address, u.Config.Name)
	u.say("\nUseful commands:\n  ray status\n  ray submit script.py\n  ray exec%s 'command'\n  ray attach%s\n  ray get-head-ip%s\n  ray down%s", name, name, name, name)
}
