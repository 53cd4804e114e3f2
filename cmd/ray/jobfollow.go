package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"ray/internal/wire"
)

// A head may restart while its jobs run: a follower that has lost it asks
// again, so long.
const (
	followPatience = 5 * time.Minute
	followRetry    = 500 * time.Millisecond
)

var (
	errSentAll = errors.New("the job has ended and all of its output was sent")
	errOutput  = errors.New("the output could not be written")
)

// follower copies a job's output, over several connections.
type follower struct {
	jobAPI
	id     string
	out    io.Writer
	offset int64 // in the job's output, as the server tells it
	told   bool  // this server tells it
	shown  int64 // bytes that were written
}

// follow copies the job's output until the job ends, over restarts of the head
// and broken connections. Nothing is shown twice.
func (j jobAPI) follow(ctx context.Context, id string, out, errOut io.Writer) error {
	f := follower{jobAPI: j, id: id, out: out}
	heard := time.Now()
	for tries := 0; ; tries++ {
		before := f.shown
		err := f.once(ctx)
		refused := new(apiError)
		switch {
		case errors.Is(err, errSentAll):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errOutput), errors.As(err, &refused) && refused.status < http.StatusInternalServerError:
			return err
		case f.shown > before:
			heard, tries = time.Now(), 0
		case time.Since(heard) > followPatience:
			return err
		}
		if tries == 0 {
			_, _ = fmt.Fprintln(errOut, "The connection to the cluster has broken; the output goes on when it answers again.")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followRetry):
		}
	}
}

// once copies over one connection. It never returns nil.
func (f *follower) once(ctx context.Context) error {
	header := http.Header{}
	for k, v := range f.headers {
		header.Set(k, v)
	}
	if f.token != "" {
		header.Set("Authorization", "Bearer "+f.token)
	}
	url := f.base + jobPath(f.id) + "/logs/tail?" + wire.JobOffsetQuery + "=" + strconv.FormatInt(f.offset, 10)
	conn, answer, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: header, HTTPClient: f.client})
	if err != nil {
		if answer != nil && answer.StatusCode >= 400 {
			return &apiError{status: answer.StatusCode, text: fmt.Sprintf("cannot follow the output of job '%s': %s", f.id, answer.Status)}
		}
		return f.unreachable(err)
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(-1)
	skip := f.shown // of a server that begins anew each time
	if f.told {
		skip = 0
	}
	for {
		kind, text, err := conn.Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			return errSentAll
		}
		if err != nil {
			return f.unreachable(err)
		}
		if kind == websocket.MessageBinary {
			if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
				f.offset, f.told = n, true
			}
			continue
		}
		again := min(skip, int64(len(text)))
		skip -= again
		n, err := f.out.Write(text[again:])
		f.shown += int64(n)
		if err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
	}
}
