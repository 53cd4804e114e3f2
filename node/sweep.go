package node

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ray/internal/objectstore"
	"ray/internal/objectstore/s3"
	"ray/internal/spec"
)

// A node that is killed leaves the files that it spilled. Those on a disk are
// known by the lock that went with it, and the next node that starts there
// removes them. Those in a bucket are removed by the nodes that survive: by
// the one of the smallest id, so that it is one and needs no agreement. Each
// time it removes what any dead node has left, because whoever had to do that
// before may have died over it.

// sweeping is the state of that. The daemon's lock guards it.
type sweeping struct {
	uris []string // where nodes of this cluster spill to
	on   bool
	due  bool // somebody died since it began
}

// sweepEnd bounds one look into all buckets.
const sweepEnd = 10 * time.Minute

// staleNodes removes the spill directories of daemons of this machine that
// were killed, of this session and of former ones, and tells which those were.
func staleNodes(dirs []string, session string) map[string]bool {
	sessions, _ := filepath.Glob(filepath.Join(filepath.Dir(session), "session_*")) // the pattern is valid
	gone := map[string]bool{}
	for _, dir := range slices.Concat(dirs, []string{session}, sessions) {
		for _, id := range objectstore.RemoveStale(dir, spillPrefix) {
			gone[id] = true
		}
	}
	return gone
}

// sweepFrom is told where nodes spill to, and which of this machine are gone.
func (d *daemon) sweepFrom(uris []string, stale map[string]bool) {
	d.locked(func() {
		d.sweep.uris = uris
		if len(stale) > 0 && len(uris) > 0 {
			d.goes(func() { d.sweepBuckets(uris, stale) })
		}
		d.sweepDead()
	})
}

// sweepDead removes what dead nodes of this cluster have left in buckets, if
// that is for this node to do.
func (d *daemon) sweepDead() {
	if len(d.sweep.uris) == 0 {
		return
	}
	gone := map[string]bool{}
	for id, n := range d.nodes {
		switch {
		case id == d.self:
		case n.State == spec.NodeDead:
			gone[id.String()] = true
		case id.String() < d.self.String():
			return
		}
	}
	if d.sweep.due = d.sweep.on; d.sweep.on || len(gone) == 0 {
		return
	}
	uris := d.sweep.uris
	d.sweep.on = d.goes(func() {
		d.sweepBuckets(uris, gone)
		d.locked(func() {
			if d.sweep.on = false; d.sweep.due {
				d.sweepDead()
			}
		})
	})
}

// sweepBuckets removes the files of nodes that are gone.
func (d *daemon) sweepBuckets(uris []string, gone map[string]bool) {
	ctx, cancel := context.WithTimeout(d.ctx, sweepEnd)
	defer cancel()
	for _, uri := range uris {
		b, err := s3.OpenBucket(ctx, uri, spillPrefix)
		n := 0
		if err == nil {
			n, err = b.Sweep(ctx, func(name string) bool {
				id, _, _ := strings.Cut(name, "-")
				return gone[id]
			})
		}
		switch {
		case d.ctx.Err() != nil:
			return
		case err != nil:
			d.log.Warn("spilled objects of dead nodes could not be removed; remove them by hand if nothing else does", "from", uri, "err", err)
		case n > 0:
			d.log.Info("spilled objects of dead nodes were removed", "from", uri, "files", n)
		}
	}
}
