package node

import (
	"context"
	"net"
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// nodeDied is the end of an attempt with the node that ran it. The daemon is locked.
func (d *daemon) nodeDied(n spec.NodeID) *spec.ErrorInfo {
	where := "node " + n.String()
	if at := d.nodes[n].Address; at != "" {
		host, _, err := net.SplitHostPort(at)
		if err != nil {
			host = at
		}
		where += " at " + host
	}
	return &spec.ErrorInfo{Type: "NodeDiedError", Message: "Task failed due to the node dying: " + where + ", which ran it, is dead."}
}

// nodesUpdate takes rows of the node table that changed.
func (d *daemon) nodesUpdate(ns []spec.Node) {
	d.setHeirs(ns)
	d.nodesSeen++
	died := false
	for _, n := range ns {
		old := d.nodes[n.ID]
		d.nodes[n.ID] = n
		if n.State == spec.NodeDead && old.State != spec.NodeDead && n.ID != d.self {
			d.nodeDead(n.ID)
			died = true
		}
	}
	if died {
		d.sweepDead()
	}
	d.placesDue = true
}

// nodeDead drops what depended on a node.
func (d *daemon) nodeDead(id spec.NodeID) {
	p := d.peerOf(id)
	p.dead = true
	if p.cancel != nil {
		p.cancel()
	}
	d.fetcher.Cut(id)
	d.giver.Forget(id)
	delete(d.legacies, id)
	for k := range p.transit {
		d.arrived(id, k)
	}
	if id == d.estate.heir && !d.estate.done {
		d.heirFailed()
	}
	for _, row := range d.away {
		row.slots = slices.DeleteFunc(row.slots, func(s *slot) bool { return s.node == id })
	}
	for _, t := range d.own.NodeDead(id, d.endOf(id)) {
		if r, _ := t.Run.(*run); r != nil {
			r.row, r.slot = nil, nil
		}
		if t.Kind == owner.KindTask {
			// A task that may be retried at all is, whatever has been preempted.
			why, charge := d.nodeDied(id), t.Tmpl.MaxRetries == 0 || !d.drainsAway(id)
			if charge {
				d.events.lost(t, why, id) // who ran it cannot list it any more
			}
			d.own.Failed(t, t.Attempt, why, charge)
		}
	}
	for _, r := range d.runs {
		if r.task == nil && r.from == id {
			d.stopRun(r, true)
		}
	}
}

// dialBulk opens a connection for object bytes.
func (d *daemon) dialBulk(ctx context.Context, id spec.NodeID) (net.Conn, error) {
	return wire.Dialer{Auth: d.auth}.Dial(ctx, d.addressOf(id), wire.KindBulk)
}
