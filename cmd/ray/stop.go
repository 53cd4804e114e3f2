package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/session"
)

func stopCmd() *cobra.Command {
	var force bool
	var grace int
	var address, name string
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS]",
		Short: "End the sessions that run on this machine.",
		Long: "End the sessions that were started under this RAY_TMPDIR, or those of the cluster given by --address, or the one given by --session.\n" +
			"Processes are known by their session files, never by name: other clusters and other users are not touched.",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen, err := chooseSessions(address, name)
			if err != nil {
				return err
			}
			n, err := stopSessions(cmd.Context(), chosen, force, time.Duration(grace)*time.Second)
			if n == 0 && err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "Did not find any active Ray processes.")
			} else if n > 0 {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "Stopped all %d Ray processes.\n", n)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "kill at once instead of asking first")
	f.IntVarP(&grace, "grace-period", "g", 16, "seconds that processes get to end by themselves")
	f.StringVar(&address, "address", "", "only nodes of the cluster whose head is at HOST:PORT")
	f.StringVar(&name, "session", "", "only the session with this name or directory")
	new(look).bindHidden(f)
	return cmd
}

// chooseSessions lists the daemons to end.
func chooseSessions(address, name string) ([]session.Announcement, error) {
	all, err := session.List()
	if err != nil {
		return nil, err
	}
	root := session.TempDir()
	all = append(all, orphans(root, all)...)
	var chosen []session.Announcement
	for _, a := range all {
		switch {
		case address != "" && a.Address != address,
			name != "" && a.SessionName != name && a.SessionDir != filepath.Clean(name),
			address == "" && name == "" && a.TempDir != root && a.StartedUnder != root:
			continue
		}
		chosen = append(chosen, a)
	}
	return chosen, nil
}

// orphans are what lives under a RAY_TMPDIR and no session file tells of: heads
// whose daemon has ended, and nodes that look for their head.
func orphans(root string, known []session.Announcement) (found []session.Announcement) {
	dirs, _ := filepath.Glob(filepath.Join(root, "session_*"))
	for _, dir := range dirs {
		if slices.ContainsFunc(known, func(a session.Announcement) bool { return a.SessionDir == dir }) {
			continue
		}
		if p, ok := session.HeadOf(dir); ok {
			found = append(found, session.Announcement{SessionDir: dir, SessionName: filepath.Base(dir), TempDir: root, Process: p, Head: true})
		}
		if p, ok := session.NodeOf(dir); ok {
			found = append(found, session.Announcement{SessionDir: dir, SessionName: filepath.Base(dir), TempDir: root, Process: p})
		}
	}
	return found
}

// stopSessions ends each daemon with everything below it and gives the number
// of processes that are gone. Daemons end their workers and their head by
// themselves; what is still there when the grace is over is killed.
func stopSessions(ctx context.Context, chosen []session.Announcement, force bool, grace time.Duration) (int, error) {
	var doomed, daemons []session.Process
	for _, a := range chosen {
		doomed = append(doomed, family(a)...)
		daemons = append(daemons, a.Process)
	}
	signalAll := func(sig syscall.Signal, who []session.Process) error {
		var errs []error
		for _, p := range who {
			if err := p.Signal(sig); err != nil {
				errs = append(errs, fmt.Errorf("signal process %d: %w", p.PID, err))
			}
		}
		return errors.Join(errs...)
	}
	var err error
	if !force {
		err = signalAll(syscall.SIGTERM, daemons)
		waitGone(ctx, doomed, grace)
	}
	if left := living(doomed); len(left) > 0 {
		// New children may have appeared since: kill those too.
		for _, a := range chosen {
			left = append(left, family(a)...)
		}
		// The daemons last: a worker that misses its daemon ends what it
		// started, and this process may be of that.
		below := slices.DeleteFunc(slices.Clone(left), func(p session.Process) bool { return slices.Contains(daemons, p) })
		left = append(below, daemons...)
		err = errors.Join(err, signalAll(syscall.SIGKILL, left))
		waitGone(ctx, left, 5*time.Second)
	}
	for _, a := range chosen {
		if !a.Alive() && a.NodeID != "" { // an orphan has no session file
			err = errors.Join(err, session.Withdraw(a))
		}
	}
	return len(doomed) - len(living(doomed)), err
}

func living(all []session.Process) []session.Process {
	var left []session.Process
	for _, p := range all {
		if p.Alive() {
			left = append(left, p)
		}
	}
	return left
}

// waitGone returns when none of the processes is left, or the time is over.
func waitGone(ctx context.Context, all []session.Process, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(living(all)) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
