package simtest

import (
	"container/heap"
	"time"
)

// clock is virtual time with a queue of things to happen.
type clock struct {
	now   time.Time
	seq   int
	queue happenings
}

type happening struct {
	at  time.Time
	seq int // keeps the order of things at the same time
	do  func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// after makes do happen after d.
func (c *clock) after(d time.Duration, do func()) {
	c.seq++
	heap.Push(&c.queue, happening{c.now.Add(d), c.seq, do})
}

// advance lets everything happen that is due until then.
func (c *clock) advance(until time.Time) {
	for len(c.queue) > 0 && !c.queue[0].at.After(until) {
		next := heap.Pop(&c.queue).(happening)
		c.now = next.at
		next.do()
	}
	c.now = until
}
