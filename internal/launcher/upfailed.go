package launcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ray/providers"
)

// failed says what exists after a failure, and how to remove it.
func (u *up) failed(ctx context.Context, err error) error {
	if errors.Is(err, errDeclined) {
		return err
	}
	head, workers, lerr := u.remains(ctx)
	if lerr != nil && (ctx.Err() != nil || u.head != nil) {
		seen := ""
		if u.head != nil {
			seen = "; the head's machine " + u.head.ID + " was there last"
		}
		u.warnf("What exists of %s could not be found out (%v)%s: `ray down` ends it.", u.Config.Name, lerr, seen)
		return err
	}
	if lerr != nil && lerr.Error() != err.Error() {
		return errors.Join(err, lerr)
	}
	if lerr != nil || head == nil && len(workers) == 0 {
		return err
	}
	if u.o.Remove && u.fresh && head != nil {
		return errors.Join(err, u.remove(*head))
	}
	n := len(workers)
	if head != nil {
		n++
	}
	u.warnf("%d machine(s) of %s exist now: go on with `ray up`, or remove them with `ray down`.", n, u.Config.Name)
	return err
}

// remainsLimit bounds asking what exists for a user who has pressed Ctrl-C.
const remainsLimit = 3 * time.Second

// remains gives what exists after a failure, which may be a Ctrl-C.
func (u *up) remains(ctx context.Context) (head *providers.Instance, workers []providers.Instance, err error) {
	ask := context.WithoutCancel(ctx)
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ask, cancel = context.WithTimeout(ask, remainsLimit)
		defer cancel()
	}
	return u.machines(ask)
}

// remove ends the head's machine that this run has made, and the workers that
// its autoscaler may have launched.
func (u *up) remove(head providers.Instance) error {
	ctx, cancel := context.WithTimeout(context.Background(), downLimit)
	defer cancel()
	n, err := u.drainAll(ctx, DownOptions{})
	if err != nil {
		return fmt.Errorf("removing %s: %w; run `ray down`", head.ID, err)
	}
	u.say("Removed %d machine(s), as asked; nothing of %s runs.", n, u.Config.Name)
	return nil
}
