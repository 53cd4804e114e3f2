package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
)

// lease is this node's permission to run: it counts from the sending of the
// last heartbeat that the head has answered. Once it is over the head may give
// this node's actors to others, so they must have ended here before.
type lease struct {
	span time.Duration // 0 until the first registration
	from time.Time
}

// renew notes that something sent then has been answered.
func (l *lease) renew(sent time.Time) {
	if sent.After(l.from) {
		l.from = sent
	}
}

// left is what remains, by the clock that says less: one of them stands still
// while a machine sleeps.
func (l *lease) left(now time.Time) time.Duration {
	return l.span - max(now.Sub(l.from), now.Round(0).Sub(l.from.Round(0)))
}

// What a lease asks for.
type leaseStep uint8

const (
	leaseFine leaseStep = iota
	leaseAsk            // the witness
	leaseOver           // end what runs here
)

// step decides; the last quarter is for ending what runs here.
func (l *lease) step(now time.Time) leaseStep {
	left := l.left(now)
	switch {
	case l.span <= 0 || left > l.span*6/10:
		return leaseFine
	case left > l.span/4:
		return leaseAsk
	}
	return leaseOver
}

// What a witness says about the head, one byte.
const (
	headServes  byte = 'S'
	headChanges byte = 'C' // it is down, silent or being replaced
)

// errCutOff ends a daemon that joins again as a new node.
var errCutOff = errors.New("the head does not count this node as alive any more")

const witnessTimeout = time.Second

// keepLease asks the head machine's daemon when the head does not answer: if
// the head itself is away, everything goes on; if only this node is cut off
// from it, what runs here ends before the head gives it to others.
func (d *daemon) keepLease() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		d.mu.Lock()
		step, witness := d.lease.step(now), d.witness()
		d.mu.Unlock()
		if step == leaseFine {
			continue
		}
		// Also when it is over: the machine may have slept, or been too busy.
		said, err := d.askWitness(witness)
		d.mu.Lock()
		if err == nil && said == headChanges {
			d.lease.renew(now) // the next head gives every node a full lease
		}
		step = d.lease.step(time.Now())
		d.mu.Unlock()
		if step == leaseOver {
			d.log.Warn("this node is cut off from the head: its workers are ended and it joins again as a new node", "witness", witness, "err", err)
			d.stop(fmt.Errorf("%w: cut off from it for longer than a lease", errCutOff))
			return
		}
	}
}

// witness is the address of the head machine's daemon. Under the lock.
func (d *daemon) witness() string {
	for _, n := range d.nodes {
		if n.Head && n.State != spec.NodeDead {
			return n.Address
		}
	}
	return ""
}

func (d *daemon) askWitness(address string) (byte, error) {
	if address == "" {
		return 0, errors.New("no witness is known")
	}
	ctx, cancel := context.WithTimeout(d.ctx, witnessTimeout)
	defer cancel()
	conn, err := wire.Dialer{Auth: d.auth}.Dial(ctx, address, wire.KindWitness)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(witnessTimeout))
	var said [1]byte
	_, err = conn.Read(said[:])
	return said[0], err
}

// testify answers another node: the head machine's daemon knows whether the
// head process serves.
func (d *daemon) testify(c net.Conn) {
	d.mu.Lock()
	quiet := time.Since(d.lease.from)
	d.mu.Unlock()
	said := headServes
	select {
	case <-d.head.up():
		if quiet > 2*heartbeatCeil+heartbeatCeil/2 {
			said = headChanges
		}
	default:
		said = headChanges
	}
	_ = c.SetDeadline(time.Now().Add(witnessTimeout))
	_, _ = c.Write([]byte{said}) // whoever asked asks again
}
