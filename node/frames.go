package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"ray/internal/spec"
	"ray/internal/wire"
	"ray/node/owner"
	"ray/node/pool"
)

// frame handles one frame of a data connection. An error ends the connection.
func (d *daemon) frame(c *client, f *wire.Frame) error {
	switch f.Type {
	case wire.TSubmit:
		return d.onSubmit(c, f.Body)
	case wire.TDone:
		return d.onDone(c, f.Body)
	case wire.TRelease:
		return d.onRelease(c, f)
	case wire.TPut:
		return d.onPut(c, f.Body)
	case wire.TGet, wire.TWait:
		return d.onGet(c, f)
	case wire.TForget:
		id, err := wire.DecodeU32(f.Type, f.Body)
		d.own.Forget(c.num, id)
		return err
	case wire.TUnpin:
		return d.onUnpin(c, f)
	case wire.TYield:
		return d.onYield(c, f.Body)
	case wire.TTemplate:
		return d.onTemplate(c, f.Body)
	case wire.TExport:
		return d.onExport(f.Body)
	case wire.TCreate:
		return d.onCreate(c, f.Body)
	case wire.TAbort:
		id, err := wire.DecodeID(f.Type, f.Body)
		d.store.Abort(uint32(c.num), id)
		return err
	case wire.TReturn:
		number, err := wire.DecodeU32(f.Type, f.Body)
		d.store.Return(uint32(c.num), number)
		return err
	case wire.TBlocked, wire.TUnblocked:
		return d.onBlocked(c, f)
	case wire.TConsumed:
		id, n, err := wire.DecodeConsumed(f.Type, f.Body)
		d.consumed(id, n)
		return err
	case wire.TCall, wire.TNote:
		var m wire.Call
		if err := m.Decode(f.Body); err != nil {
			return err
		}
		d.clientCall(c, &m, c.out)
		return nil
	}
	return &spec.ErrorInfo{Type: "RuntimeError", Message: fmt.Sprintf("frame %s does not belong on a data connection", f.Type)}
}

func (d *daemon) onTemplate(c *client, body []byte) error {
	var m wire.Template
	if err := m.Decode(body); err != nil {
		return err
	}
	t, err := d.template(c.job, m.JSON)
	if err != nil {
		return err
	}
	c.templates[m.Number] = t
	return nil
}

// template finds or makes the daemon's own copy of a template.
func (d *daemon) template(j *job, text []byte) (*owner.Template, error) {
	key := string(j.id[:]) + string(text)
	if t := d.templates[key]; t != nil {
		return t, nil
	}
	t := &owner.Template{JSON: bytes.Clone(text), Num: d.tmplNum}
	if err := json.Unmarshal(text, &t.Template); err != nil {
		return nil, fmt.Errorf("TEMPLATE: %w: %w", wire.ErrMalformed, err)
	}
	d.tmplNum++
	d.templates[key] = t
	d.classify(j, t)
	return t, nil
}

// root is the detached actor that the process runs or whose work it does.
func (c *client) root() spec.ActorID {
	w := c.worker
	switch {
	case w == nil:
		return spec.ActorID{}
	case w.actor != nil && w.actor.tmpl.Actor != nil && w.actor.tmpl.Actor.Detached:
		return w.actor.id
	}
	return w.key.Root
}

// rooted is a template as it is for work that descends from root: other
// daemons and workers are sent its text.
func (d *daemon) rooted(j *job, t *owner.Template, root spec.ActorID) (*owner.Template, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(t.JSON, &fields); err != nil {
		return nil, fmt.Errorf("TEMPLATE: %w: %w", wire.ErrMalformed, err)
	}
	delete(fields, "root")
	if !root.IsZero() {
		fields["root"] = json.RawMessage(`"` + root.String() + `"`)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	return d.template(j, text)
}

// forgetClasses drops the classes of placement groups that are gone, and the
// templates that led to them: clients that have one still know it.
func (d *daemon) forgetClasses() {
	gone := map[*pool.Class]bool{}
	for _, c := range d.pool.ForgetClasses() {
		gone[c] = true
	}
	if len(gone) == 0 {
		return
	}
	maps.DeleteFunc(d.templates, func(_ string, t *owner.Template) bool {
		c, ok := t.Class.(*class)
		return ok && c.pool != nil && gone[c.pool]
	})
}

func (d *daemon) onExport(body []byte) error {
	var m wire.Export
	if err := m.Decode(body); err != nil {
		return err
	}
	if _, known := d.functions[m.ID]; !known {
		d.functions[m.ID] = bytes.Clone(m.Code)
	}
	return nil
}

func (d *daemon) onSubmit(c *client, body []byte) error {
	m := &d.scratch.submit
	if err := m.Decode(body); err != nil {
		return err
	}
	tmpl := c.templates[m.Template]
	if tmpl == nil {
		return fmt.Errorf("SUBMIT of template %d: %w: it was not sent on this connection", m.Template, wire.ErrMalformed)
	}
	if root := c.root(); tmpl.Root != root {
		rooted, err := d.rooted(c.job, tmpl, root)
		if err != nil {
			return err
		}
		tmpl, c.templates[m.Template] = rooted, rooted
	}
	if d.own.Task(m.Task) != nil {
		return fmt.Errorf("SUBMIT of task %s: %w: it was submitted already", m.Task, wire.ErrMalformed)
	}
	t := &task{}
	t.Spec = owner.Spec{ID: m.Task, Parent: m.Parent, Kind: m.Kind, ArgsIn: m.Flags&wire.ArgsInObject != 0,
		NReturns: int(m.NReturns), Payload: bytes.Clone(m.Payload), Tmpl: tmpl}
	if n := len(m.Deps); n+len(m.Refs) > 0 {
		refs := make([]spec.Ref, 0, n+len(m.Refs))
		refs = append(append(refs, m.Deps...), m.Refs...)
		t.Deps, t.Refs = refs[:n:n], refs[n:]
	}
	t.Created = time.Now().UnixMilli()
	t.run = run{spec: &t.Spec, task: &t.Task}
	t.Run = &t.run
	d.own.Submit(&t.Task, c.num)
	return nil
}

func (d *daemon) onRelease(c *client, f *wire.Frame) error {
	list, err := wire.DecodeCounts(f.Type, f.Body)
	if err != nil {
		return err
	}
	for i := range list.Len() {
		id, n := list.At(i)
		d.own.Release(c.num, id, n)
	}
	return nil
}

func (d *daemon) onUnpin(c *client, f *wire.Frame) error {
	list, err := wire.DecodeCounts(f.Type, f.Body)
	if err != nil {
		return err
	}
	for i := range list.Len() {
		id, n := list.At(i)
		d.store.Unpin(uint32(c.num), id, int(n))
	}
	return nil
}

// take turns a client's value into one to keep: blobs and references are
// copied out of the frame, and an arena value is sealed.
func (d *daemon) take(c *client, id spec.ObjectID, v *wire.Value) (owner.Value, error) {
	out := owner.Value{Refs: slices.Clone(v.Refs)}
	if v.Where == wire.Inline {
		out.Where, out.Blob = owner.Inline, bytes.Clone(v.Blob)
		out.Err = wire.IsError(v.Blob)
		return out, nil
	}
	if v.Where != wire.Arena {
		return out, fmt.Errorf("value of %s: %w: a client's value must be inline or in the arena", id, wire.ErrMalformed)
	}
	head, err := d.store.Seal(uint32(c.num), id, true)
	out.Where, out.Off, out.Size = owner.Arena, v.Offset, v.Size
	out.Err = wire.IsError(head)
	return out, err
}

func (d *daemon) onPut(c *client, body []byte) error {
	var m wire.Put
	if err := m.Decode(body); err != nil {
		return err
	}
	if m.Value.Where == wire.Arena {
		d.store.Use(uint32(c.num), m.ID, m.Value.Offset, m.Value.Size)
	}
	v, err := d.take(c, m.ID, &m.Value)
	if err != nil {
		return err
	}
	d.own.Put(c.num, m.ID, v)
	if m.Value.Where == wire.Arena && c.slot >= 0 {
		d.lend(c, m.Value.Size)
	}
	return nil
}

// lend gives a client that stores objects of one size room for the next ones.
func (d *daemon) lend(c *client, size uint64) {
	for _, s := range d.store.Lend(uint32(c.num), c.slot, size) {
		m := wire.Lent{Warm: s.Warm, Number: s.Number, Offset: s.Offset, Size: s.Size}
		c.out.Append(m.Append)
		d.mark(c)
	}
}

func (d *daemon) onGet(c *client, f *wire.Frame) error {
	var m wire.Get
	if err := m.Decode(f.Body); err != nil {
		return err
	}
	if f.Type == wire.TGet {
		d.own.Get(c.num, m.Request, m.Refs, m.Flags&wire.NoPin != 0)
	} else {
		d.own.Wait(c.num, m.Request, m.Refs, m.Flags&wire.FetchLocal != 0)
	}
	return nil
}

// onCreate finds room in the arena. The answer may come later, from the
// store's goroutine, so it touches only the connection's buffer.
func (d *daemon) onCreate(c *client, body []byte) error {
	var m wire.Create
	if err := m.Decode(body); err != nil {
		return err
	}
	if o := d.own.Object(m.ID); o == nil || !o.Here() {
		if d.runs[m.ID.TaskID()] != nil || d.own.Task(m.ID.TaskID()) != nil {
			// a further attempt of a task writes a return again
			if d.store.Has(m.ID) {
				d.store.Delete(m.ID)
			}
		}
	}
	d.store.Create(uint32(c.num), m.ID, m.Size, d.answer(c, func(b []byte, off uint64, warm bool, err error) []byte {
		r := wire.Created{Request: m.Request, Offset: off, Warm: warm}
		if err != nil {
			r.Error = storeError(err)
		}
		return r.Append(b)
	}))
	d.mark(c)
	return nil
}

func (d *daemon) onBlocked(c *client, f *wire.Frame) error {
	seq, epoch, err := wire.DecodePair(f.Type, f.Body)
	if err != nil || c.worker == nil || c.worker.pw == nil {
		return err
	}
	if f.Type == wire.TBlocked {
		d.pool.Blocked(c.worker.pw, seq, epoch, d.now())
	} else {
		d.pool.Unblocked(c.worker.pw, seq)
	}
	return nil
}
