package gcp

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/googleapis/gax-go/v2/callctx"
)

// The iterators of Google's clients bind no request to the
// context that they were given, so that a list that is being throttled would
// not notice Ctrl-C. A header that the transport takes off again leads to it.

const withinHeader = "X-Ray-Within"

var (
	lists     sync.Map // number as text → context.Context
	listCount atomic.Int64
)

// within gives a context for the iterators of one list; release it after the
// last page.
func within(ctx context.Context) (list context.Context, release func()) {
	id := strconv.FormatInt(listCount.Add(1), 10)
	lists.Store(id, ctx)
	return callctx.SetHeaders(ctx, withinHeader, id), func() { lists.Delete(id) }
}

// bound gives the request the context of its list.
func bound(r *http.Request) *http.Request {
	id := r.Header.Get(withinHeader)
	if id == "" {
		return r
	}
	ctx := r.Context()
	if list, ok := lists.Load(id); ok {
		ctx = list.(context.Context)
	}
	r = r.Clone(ctx)
	r.Header.Del(withinHeader)
	return r
}
