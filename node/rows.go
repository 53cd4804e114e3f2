package node

import (
	"encoding/json"
	"strings"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
)

// raisedBytes bounds the text that is kept of an exception: its end, where the message is.
const raisedBytes = 2000

// taskRaised keeps what a task's code has raised, until the attempt ends.
func (d *daemon) taskRaised(c *client, text []byte) error {
	var in struct {
		TaskID spec.TaskID `json:"task_id"`
		Text   string      `json:"text"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	if r := d.runs[in.TaskID]; r != nil && c.worker != nil && r.worker() == c.worker {
		r.raised = strings.ToValidUTF8(in.Text[max(0, len(in.Text)-raisedBytes):], "")
	}
	return nil
}

// query lists rows for the state API.
func (d *daemon) query(q wire.Query) wire.QueryReply {
	if q.Limit <= 0 {
		q.Limit = 10_000
	}
	var reply wire.QueryReply
	reply.Rows = []map[string]any{}
	add := func(row map[string]any) {
		reply.Total++
		if len(reply.Rows) < q.Limit {
			reply.Rows = append(reply.Rows, row)
		}
	}
	switch q.Kind {
	case "tasks":
		d.taskRows(add)
	case "objects":
		d.objectRows(add)
	case "object_stores":
		add(d.storeRow())
	case "workers":
		d.workerRows(add)
	case "runtime_envs":
		d.envRows(add)
	}
	return reply
}

func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// refSites notes where a client made references.
func (d *daemon) refSites(c *client, text []byte) error {
	var in struct {
		IDs  []spec.ObjectID `json:"ids"`
		Site string          `json:"site"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	for _, id := range in.IDs {
		if o := d.own.Object(id); o != nil {
			o.Note(owner.Client(c.num), in.Site)
		}
	}
	return nil
}

// noteArgs notes that a worker has references and memory from the arguments of
// a task.
func (d *daemon) noteArgs(c *client, r *run) {
	what := "task"
	if r.spec.Kind != owner.KindTask {
		what = "actor task"
	}
	const given = "(deserialize "
	site := given + what + " arg) " + r.spec.Tmpl.Name
	note := func(ref spec.Ref) *owner.Object {
		o := d.own.Object(ref.ID)
		if o != nil {
			// What the process has made itself says so; of what it was given the last counts.
			if had := o.Site(owner.Client(c.num)); had == "" || strings.HasPrefix(had, given) {
				o.Note(owner.Client(c.num), site)
			}
		}
		return o
	}
	for _, ref := range r.spec.Deps {
		if o := note(ref); o != nil {
			for _, inside := range o.Nested {
				note(inside)
			}
		}
	}
	for _, ref := range r.spec.Refs {
		note(ref)
	}
}

func (d *daemon) workerRows(add func(map[string]any)) {
	row := func(id any, typ string, pid int, start int64) map[string]any {
		return map[string]any{"worker_id": id, "is_alive": true, "worker_type": typ, "exit_type": nil, "exit_detail": nil, "node_id": d.self,
			"ip": d.cfg.NodeIP, "pid": pid, "start_time_ms": start, "worker_launch_time_ms": start, "worker_launched_time_ms": start, "end_time_ms": 0}
	}
	for _, w := range d.workers {
		add(row(w.id, "WORKER", w.pid, w.start))
	}
	for _, c := range d.clients {
		if c.worker == nil {
			add(row(c.id, "DRIVER", c.hello.PID, c.start))
		}
	}
	d.endedRows(add, row)
}
