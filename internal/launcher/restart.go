package launcher

import (
	"context"
	"fmt"
	"time"

	"ray/providers"
)

// stopWait is how long a head's machine may take to stop.
const stopWait = 5 * time.Minute

// awaitStop waits until a head's machine that stops has stopped, or is gone.
func (u *up) awaitStop(ctx context.Context) error {
	u.say("The head's machine is stopping. Waiting for that.")
	for deadline := time.Now().Add(stopWait); u.head != nil && u.head.State == providers.Stopping && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		var err error
		if u.head, u.workers, err = u.machines(ctx); err != nil {
			return err
		}
	}
	return nil
}

// restart starts the head's machine that was stopped. Its head starts the
// stopped workers when it needs them; those that still run would not find it.
func (u *up) restart(ctx context.Context) error {
	p, ok := u.plain().(providers.Stopper)
	if !ok {
		return fmt.Errorf("the machine %s of the head is stopped, and the provider %s cannot start it; run `ray down`", u.head.ID, u.Config.Provider.Type)
	}
	u.say("The head's machine is stopped. Starting it again.")
	if err := u.clear(ctx, false); err != nil {
		return err
	}
	if err := p.Restart(ctx, u.head.ID, nil); err != nil {
		return fmt.Errorf("starting the head's machine again: %w; `ray up` tries it once more, `ray down` gives it up", err)
	}
	var err error
	if u.head, _, err = u.machines(ctx); err != nil {
		return err
	}
	if u.head == nil {
		return fmt.Errorf("the head's machine is gone; run `ray up` again")
	}
	u.o.NoRestart = false
	return nil
}
