package gcp

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/compute/apiv1/computepb"
	"google.golang.org/protobuf/proto"

	"ray/providers"
)

var _ providers.Stopper = (*Provider)(nil)

// Stop implements providers.Stopper. What is on local SSDs is given up: no
// machine that has them could be stopped otherwise.
func (p *Provider) Stop(ctx context.Context, ids []string) error {
	return p.eachLive(ctx, ids, "stop", func(c *clients, m machine) error {
		if !m.State.Up() {
			return nil
		}
		in := &computepb.StopInstanceRequest{Project: p.project(), Zone: m.zone, Instance: m.ID}
		if m.scratch {
			in.DiscardLocalSsd = proto.Bool(true)
		}
		_, err := c.instances.Stop(ctx, in)
		return err
	})
}

// stoppedWithin is how long an instance may take to stop.
const stoppedWithin = 5 * time.Minute

// Restart implements providers.Stopper.
func (p *Provider) Restart(ctx context.Context, id string, tags map[string]string) error {
	m, err := p.stopped(ctx, id)
	if err != nil {
		return err
	}
	if len(tags) > 0 {
		if err := p.Tag(ctx, id, tags); err != nil {
			return err
		}
	}
	if m.State.Up() {
		return nil
	}
	c, err := p.connectAPI(ctx)
	if err != nil {
		return err
	}
	op, err := c.instances.Start(ctx, &computepb.StartInstanceRequest{Project: p.project(), Zone: m.zone, Instance: id})
	if err != nil {
		return failed("start "+id, err)
	}
	return p.done(ctx, "start "+id, m.zone, op.Name())
}

// stopped waits until an instance is not on its way down any more.
func (p *Provider) stopped(ctx context.Context, id string) (machine, error) {
	for deadline := time.Now().Add(stoppedWithin); ; {
		live, err := p.live(ctx)
		if err != nil {
			return machine{}, err
		}
		m, ok := live[id]
		switch {
		case !ok:
			return m, fmt.Errorf("%s: %w", id, providers.ErrNoInstance)
		case m.State != providers.Stopping:
			return m, nil
		case time.Now().After(deadline):
			return m, &providers.Error{Cause: providers.Transient, Op: "start " + id, Err: fmt.Errorf("it does not stop"), Hint: hints[providers.Transient]}
		}
		select {
		case <-ctx.Done():
			return m, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// done waits for the end of an operation.
func (p *Provider) done(ctx context.Context, what, zone, name string) error {
	c, err := p.connectAPI(ctx)
	if err != nil {
		return err
	}
	for {
		state, err := c.operations.Wait(ctx, &computepb.WaitZoneOperationRequest{Project: p.project(), Zone: zone, Operation: name})
		if err != nil {
			return failed(what, err)
		}
		if state.GetStatus() == computepb.Operation_DONE {
			return operationError(what, state)
		}
	}
}
