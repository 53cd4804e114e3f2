package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ray/internal/spec"
	"ray/internal/sshx"
)

// waitLimit bounds --wait.
const waitLimit = 15 * time.Minute

// wait watches the cluster until its least number of workers has joined.
func (u *up) wait(ctx context.Context) error {
	want := u.Config.MinWorkers()
	if u.host == nil || want == 0 {
		return nil
	}
	if n := len(upSteps()); u.l.Step != nil {
		u.l.Step(n, n, "Waiting for workers")
	}
	said := -1
	for deadline := time.Now().Add(waitLimit); ; {
		st, err := u.status(ctx)
		joined := 0
		for _, n := range st.Nodes {
			if n.State == spec.NodeAlive && !n.Head {
				joined++
			}
		}
		if joined >= want && err == nil {
			u.say("All %d workers have joined.", want)
			return nil
		}
		if joined != said {
			said = joined
			u.say("Waiting for workers: %d of %d have joined.", joined, want)
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("only %d of %d workers joined within %s; `ray status` says why", joined, want, waitLimit), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// status asks the head, by the program there, so that it works wherever the
// head can be reached.
func (u *up) status(ctx context.Context) (spec.Status, error) {
	var st spec.Status
	var out, errOut strings.Builder
	host := u.inside(u.host)
	err := host.Run(ctx, sshx.Command{
		Line: "ray status --json", Env: u.environment(ctx, *u.head, host), Stdout: &out, Stderr: &errOut,
	})
	if err != nil {
		return st, fmt.Errorf("ray status on the head: %w: %s", err, strings.TrimSpace(errOut.String()))
	}
	return st, json.Unmarshal([]byte(out.String()), &st)
}
