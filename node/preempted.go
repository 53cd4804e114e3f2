package node

import (
	"os"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/preemption"
)

// watchPreemption waits for the cloud's notice that this machine will be taken
// away, and has the head drain the node: what is queued goes elsewhere, the
// autoscaler starts a replacement, and what ends with the machine is not charged.
// The head could go nowhere: its users are told.
func (d *daemon) watchPreemption() {
	w := preemption.Detect(os.Getenv)
	if w == nil {
		return
	}
	notice, err := w.Wait(d.ctx)
	if err != nil {
		return // the daemon ends
	}
	d.log.Warn("the machine will be taken away", "notice", notice.Text, "deadline", notice.Deadline)
	drain := spec.Drain{Reason: spec.DrainPreempted, Message: notice.Text, DeadlineMS: notice.Deadline.UnixMilli()}
	if d.cfg.Head {
		d.warnOfEnd(drain)
		return
	}
	request := struct {
		NodeID spec.NodeID `json:"node_id"`
		spec.Drain
	}{d.self, drain}
	for {
		var reply wire.DrainReply
		if _, err = d.head.call(d.ctx, "node.drain", request, &reply, nil); err == nil && reply.Accepted {
			return
		}
		d.log.Warn("the head does not know yet that the machine will be taken away", "err", err, "answer", reply.Message)
		select {
		case <-d.ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// noticeEvery is how often the head is told of the end of its machine: one
// that was started anew knows nothing of it.
const noticeEvery = 5 * time.Second

// warnOfEnd tells the head that its machine will be taken away.
func (d *daemon) warnOfEnd(notice spec.Drain) {
	for {
		if _, err := d.head.call(d.ctx, wire.MethodHeadNotice, notice, nil, nil); err != nil && d.ctx.Err() == nil {
			d.log.Warn("the head does not know yet that its machine will be taken away", "err", err)
		}
		select {
		case <-d.ctx.Done():
			return
		case <-time.After(noticeEvery):
		}
	}
}
