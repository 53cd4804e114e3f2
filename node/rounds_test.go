package node

import (
	"context"
	"testing"

	"ray/node/pool"
)

func TestOneFailureSpeaksForItsRound(t *testing.T) {
	rs, k := rounds{}, pool.Key{Env: "pip"}
	first, second := rs.join(t.Context(), k), rs.join(t.Context(), k)
	if first != second || !rs.current(first) {
		t.Fatal("starts that are under way together must share a round")
	}
	rs.end(first)
	if first.ctx.Err() != context.Canceled {
		t.Fatal("the other starts of a failed round go on")
	}
	next := rs.join(t.Context(), k)
	if next == first || next.ctx.Err() != nil {
		t.Fatal("a start after the failure must begin a new round")
	}
	rs.leave(first)
	rs.leave(second) // late
	if rs.current(second) || !rs.current(next) || next.ctx.Err() != nil {
		t.Fatal("the end of an old round must not touch the new one")
	}
	rs.leave(next)
	if len(rs) != 0 || next.ctx.Err() == nil {
		t.Fatalf("a round without starts is left: %v", rs)
	}
}
