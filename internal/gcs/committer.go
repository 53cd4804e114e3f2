package gcs

import (
	"errors"
	"sync"
	"time"
)

// groupDelay is how long writes that need no sync of their own may wait for
// company; retryDelay is how long a store that failed is left alone.
const (
	groupDelay = 10 * time.Millisecond
	retryDelay = time.Second
)

// Committer makes changes durable in the order in which they were made, and
// lets what follows from them (answers, notifications) out in that order, but
// not before the last synced change ahead of it is stored. Its one goroutine
// runs until Close.
type Committer struct {
	store Store
	term  uint64
	// failed is called when the store refuses; stale tells that another head leads.
	failed func(err error)

	mu     sync.Mutex
	queue  []entry
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

type entry struct {
	writes []Write
	sync   bool
	then   func(error)
}

// NewCommitter starts it. failed is called, from its goroutine, with every
// error of the store.
func NewCommitter(store Store, term uint64, failed func(error)) *Committer {
	c := &Committer{store: store, term: term, failed: failed, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go c.run()
	return c
}

// Add queues a change; it never blocks. then runs on the committer's
// goroutine and must not block either; its error is nil unless the change
// asked to be synced and could not be.
func (c *Committer) Add(writes []Write, sync bool, then func(error)) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		then(ErrClosed)
		return
	}
	c.queue = append(c.queue, entry{writes, sync, then})
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Close stores what is queued, runs what follows and ends the goroutine. It
// does not close the store.
func (c *Committer) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	<-c.done
}

func (c *Committer) take() (batch []entry, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, c.queue = c.queue, nil
	return batch, c.closed
}

func (c *Committer) run() {
	defer close(c.done)
	var pending []Write // accepted, not yet stored
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var deadline time.Time // of pending, zero while there is none
	for {
		batch, closed := c.take()
		synced := false
		for _, e := range batch {
			pending = append(pending, e.writes...)
			synced = synced || e.sync
		}
		var err error
		if len(pending) > 0 && deadline.IsZero() {
			deadline = time.Now().Add(groupDelay)
		}
		if len(pending) > 0 && (synced || closed || !time.Now().Before(deadline)) {
			if err = c.store.Commit(pending, c.term); err == nil {
				pending, deadline = nil, time.Time{}
			} else {
				c.failed(err)
				deadline = time.Now().Add(retryDelay)
			}
		}
		for _, e := range batch {
			if e.sync {
				e.then(err)
			} else {
				e.then(nil)
			}
		}
		if closed && (len(batch) == 0 || errors.Is(err, ErrStaleTerm)) {
			return
		}
		if closed {
			continue
		}
		if !deadline.IsZero() {
			timer.Reset(time.Until(deadline))
		}
		select {
		case <-c.wake:
		case <-timer.C:
		}
	}
}
