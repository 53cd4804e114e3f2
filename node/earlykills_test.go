package node

import (
	"net"
	"testing"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/pool"
)

func TestAnOrderToEndAnActorThatComesFirstIsKept(t *testing.T) {
	job := spec.JobID{1}
	d := withoutHead(t, job)
	near, far := net.Pipe()
	d.head = &headLink{d: d, peer: wire.NewPeer(wire.NewConnLink(near, 0), wire.PeerOptions{})}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	creation := func(id spec.ActorID, incarnation int) *run {
		c := &class{pool: d.pool.Class(pool.Key{Job: job}, spec.Resources{}, true, "")}
		return &run{inc: incarnation, spec: &owner.Spec{ID: spec.ActorCreationTaskID(id), Kind: owner.KindCreate, Tmpl: &owner.Template{Class: c}}}
	}
	killed, other := spec.ActorID{1}, spec.ActorID{2}
	d.killActor(wire.ActorKill{ActorID: killed, Incarnation: 2})
	d.killActor(wire.ActorKill{ActorID: other}) // of no certain incarnation: nothing to wait for
	d.host(creation(killed, 2))
	if d.hosted[killed] != nil {
		t.Error("the incarnation that was to end has been started")
	}
	d.host(creation(killed, 3))
	d.host(creation(other, 1))
	if d.hosted[killed] == nil || d.hosted[other] == nil {
		t.Error("the order has ended another incarnation than its own")
	}
	d.killActor(wire.ActorKill{ActorID: killed, Incarnation: 2})
	if d.hosted[killed] == nil {
		t.Error("a late order has ended the incarnation after its own")
	}
}

func TestEarlyKillsAreBounded(t *testing.T) {
	var e earlyKills
	first, last := spec.ActorID{1}, spec.ActorID{2}
	e.add(wire.ActorKill{ActorID: first, Incarnation: 1})
	for range 5 * keptKills {
		e.add(wire.ActorKill{ActorID: spec.ActorID{3}, Incarnation: 1})
	}
	e.add(wire.ActorKill{ActorID: last, Incarnation: 1})
	if len(e.orders) > keptKills {
		t.Errorf("%d orders are kept", len(e.orders))
	}
	if e.take(first, 1) != nil || e.take(last, 2) != nil || e.take(last, 1) == nil || e.take(last, 1) != nil {
		t.Error("the newest are kept, each for its incarnation and once")
	}
}
