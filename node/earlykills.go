package node

import (
	"slices"

	"ray/internal/spec"
	"ray/internal/wire"
)

// keptKills bounds what is remembered: most of these orders are for processes
// that have just ended by themselves.
const keptKills = 1000

// earlyKills are orders to end incarnations of actors that are not here. The
// order to start one comes from the actor's owner and the order to end it from
// the head, so that either may be first; the later one finds the other here.
type earlyKills struct {
	orders []wire.ActorKill // oldest first
}

func (e *earlyKills) add(k wire.ActorKill) {
	if k.Incarnation == 0 {
		return // of no certain one: it must not end a later one
	}
	if len(e.orders) >= keptKills {
		e.orders = slices.Delete(e.orders, 0, keptKills/10)
	}
	e.orders = append(e.orders, k)
}

// take gives the order that ends this incarnation, nil if there is none.
func (e *earlyKills) take(id spec.ActorID, incarnation int) *wire.ActorKill {
	for i := range e.orders {
		if k := e.orders[i]; k.ActorID == id && k.Incarnation >= incarnation {
			e.orders = slices.Delete(e.orders, i, i+1)
			return &k
		}
	}
	return nil
}
