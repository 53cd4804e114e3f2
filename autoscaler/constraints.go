package autoscaler

import "slices"

// holdConstraints makes room for all of request_resources at once, as if
// every node were empty, and marks the nodes that give the room: they stay
// while the request stands.
func (pl *planner) holdConstraints() {
	var wants []want
	for _, d := range pl.req.Constraints {
		if d.Count <= 0 {
			continue
		}
		s, ok := pl.shapeOf(d)
		if !ok {
			pl.infeasible(KindConstraint, "", d)
			continue
		}
		wants = append(wants, want{s, d.Count})
	}
	if len(wants) == 0 {
		return
	}
	empty := make([]*bin, 0, len(pl.existing)+len(pl.planned))
	for _, b := range slices.Concat(pl.existing, pl.planned) {
		e := *b
		e.free = slices.Clone(b.total)
		empty = append(empty, &e)
	}
	p := newPacker(empty)
	wants = pl.ordered(wants)
	fillAny(p, wants)
	whole := len(pl.reply.Infeasible) == 0
	if whole { // all of it or nothing new
		pl.launchEmpty(p, wants)
	}
	pl.waitForConstraints(wants, whole)
	for _, b := range empty {
		if b.used && b.name != "" {
			pl.protected[b.name] = true
		}
	}
	for _, s := range pl.shapes {
		if s != nil {
			s.next = 0 // other bins come next
		}
	}
}

func (pl *planner) waitForConstraints(wants []want, whole bool) {
	for _, w := range wants {
		if w.count == 0 {
			continue
		}
		reason := "another part of the same request fits no node type"
		if whole {
			reason = pl.holdReason(w.shape)
		}
		pl.wait(KindConstraint, "", w.shape, w.count, reason)
	}
}

// launchEmpty plans the nodes and gives them back their room: constraints
// reserve nothing, so demand may use it.
func (pl *planner) launchEmpty(p *packer, wants []want) {
	mark := len(pl.planned)
	pl.launchAny(p, wants, reasonConstraint, true)
	for _, b := range pl.planned[mark:] {
		b.free, b.used = slices.Clone(b.total), false
	}
}
