package bootstrap

import (
	"context"
	"time"

	"ray/providers"
)

// Values of the tag TagStatus, upstream's: how far a node's set-up is.
const (
	statusWaiting = "waiting-for-ssh"
	statusSyncing = "syncing-files"
	statusSetup   = "setting-up"
	statusFailed  = "update-failed"
	statusReady   = "up-to-date"
)

// statusAt is the status that begins with a step.
var statusAt = map[string]string{
	stepAwait: statusWaiting, stepFiles: statusSyncing, stepInitialize: statusSetup, stepContainer: statusSetup, stepSetup: statusSetup,
}

// tagLimit bounds one change of tags.
const tagLimit = 20 * time.Second

// tagger writes a node's status beside the set-up, which does not wait for it.
// Tags are for people and other launchers to read: one that cannot be written
// fails nothing.
type tagger struct {
	set   func(ctx context.Context, id string, tags map[string]string) error
	id    string
	queue chan map[string]string
	ended chan struct{}
	last  string
}

// newTagger begins; close ends it. A provider without tags that can be changed
// gives one that does nothing.
func newTagger(ctx context.Context, n *Node) *tagger {
	t := &tagger{id: n.Instance.ID, ended: make(chan struct{})}
	p, ok := n.Tags.(providers.Tagger)
	if !ok {
		close(t.ended)
		return t
	}
	t.set, t.queue = p.Tag, make(chan map[string]string, len(statusAt)+2)
	go t.run(context.WithoutCancel(ctx))
	return t
}

func (t *tagger) run(ctx context.Context) {
	defer close(t.ended)
	for tags := range t.queue {
		for more := true; more; { // what has queued up meanwhile is one change
			select {
			case next, open := <-t.queue:
				for k, v := range next {
					tags[k] = v
				}
				more = open
			default:
				more = false
			}
		}
		ctx, cancel := context.WithTimeout(ctx, tagLimit)
		_ = t.set(ctx, t.id, tags)
		cancel()
	}
}

// status notes how far the set-up is, with more tags.
func (t *tagger) status(status string, more map[string]string) {
	if t.queue == nil || status == "" || status == t.last {
		return
	}
	t.last = status
	tags := map[string]string{providers.TagStatus: status}
	for k, v := range more {
		if v != "" {
			tags[k] = v
		}
	}
	t.queue <- tags
}

// close waits until the last status is written.
func (t *tagger) close() {
	if t.queue != nil {
		close(t.queue)
	}
	<-t.ended
}
