package node

import (
	"context"

	"ray/node/pool"
)

// rounds groups the starts of workers that are under way, by key. One failure
// speaks for its whole round: it ends the tasks that waited then, the other
// starts of the round are given up, and what they still report is not held
// against tasks that were submitted meanwhile. The next start begins a new
// round, and with it a new attempt at the environment.
type rounds map[pool.Key]*round

// round is the starts of one key that share their fate.
type round struct {
	key    pool.Key
	ctx    context.Context // ends when the round is over
	cancel context.CancelFunc
	starts int // under way
}

// join counts one more start of the key.
func (rs rounds) join(ctx context.Context, k pool.Key) *round {
	r := rs[k]
	if r == nil {
		r = &round{key: k}
		r.ctx, r.cancel = context.WithCancel(ctx)
		rs[k] = r
	}
	r.starts++
	return r
}

// leave ends one start of the round.
func (rs rounds) leave(r *round) {
	if r.starts--; r.starts == 0 {
		rs.end(r)
	}
}

// end gives up the other starts of the round.
func (rs rounds) end(r *round) {
	r.cancel()
	if rs[r.key] == r {
		delete(rs, r.key)
	}
}

// current tells whether a failure of the round is news.
func (rs rounds) current(r *round) bool { return rs[r.key] == r }
