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
func (d *daemon) watchPreemption() {
	w := preemption.Detect(os.Getenv)
	if w == nil || d.cfg.Head {
		return // there is nowhere that the head could go
	}
	notice, err := w.Wait(d.ctx)
	if err != nil {
		return // the daemon ends
	}
	d.log.Warn("the machine will be taken away", "notice", notice.Text, "deadline", notice.Deadline)
	request := struct {
		NodeID spec.NodeID `json:"node_id"`
		spec.Drain
	}{d.self, spec.Drain{Reason: spec.DrainPreempted, Message: notice.Text, DeadlineMS: notice.Deadline.UnixMilli()}}
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
