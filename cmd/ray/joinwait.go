package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// joinPatience is how long a node tries to reach the head that it is to join. A
// node is often there before its head, whose image is still being fetched:
// upstream tries RAY_NUM_REDIS_GET_RETRIES times, 20 by default, for some 40 s.
func joinPatience() time.Duration {
	tries, err := strconv.Atoi(os.Getenv("RAY_NUM_REDIS_GET_RETRIES"))
	if err != nil || tries < 1 {
		tries = 20
	}
	return time.Duration(min(tries, 1000)) * 40 * time.Second
}

// tellAfter is how long a head may be silent until the user is told.
const tellAfter = 2 * time.Second

// tellOfWaiting says on out that the head does not answer, and why, if a node
// that joins is not up soon. stop ends that.
func (d *daemon) tellOfWaiting(ctx context.Context, plan *startPlan, out io.Writer) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if plan.node.Head {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tellAfter):
		}
		c, err := (&net.Dialer{Timeout: startTimeout}).DialContext(ctx, "tcp", plan.node.HeadAddress)
		switch {
		case err == nil:
			_ = c.Close()
		case ctx.Err() == nil:
			_, _ = fmt.Fprintf(out, "Waiting for the head at %s, up to %s: %v. Ctrl-C ends this.\n", plan.node.HeadAddress, joinPatience(), err)
		}
	}()
	return func() { cancel(); <-done }
}
