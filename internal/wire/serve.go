package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ray/internal/spec"
)

// Request is a call or note that came in.
type Request struct {
	Method string
	JSON   json.RawMessage
	Tail   []byte
	Peer   *Peer
}

// Decode reads the request's JSON into v.
func (r *Request) Decode(v any) error {
	if err := json.Unmarshal(r.JSON, v); err != nil {
		return &spec.ErrorInfo{Type: "ValueError", Message: fmt.Sprintf("call %s: its arguments cannot be read: %v", r.Method, err)}
	}
	return nil
}

// Handler answers a request with a JSON value and a tail. An error that is no
// *spec.ErrorInfo travels as RaySystemError. For a note the results are dropped.
type Handler func(ctx context.Context, r *Request) (out any, tail []byte, err error)

// frame runs on the reader.
func (p *Peer) frame(f Frame) {
	switch f.Type {
	case TReply:
		var r Reply
		if r.Decode(f) != nil {
			return
		}
		p.mu.Lock()
		done := p.calls[r.ID]
		delete(p.calls, r.ID)
		p.mu.Unlock()
		if done != nil {
			done(r, nil)
		}
	case TCall, TNote:
		var c Call
		if c.Decode(f.Body) == nil {
			p.incoming(f.Type == TNote, &c)
		}
	default:
		if p.opts.Frames != nil {
			p.opts.Frames(f)
		}
	}
}

func (p *Peer) incoming(note bool, c *Call) {
	r := &Request{Method: string(c.Method), JSON: c.JSON, Tail: c.Tail, Peer: p}
	p.mu.Lock()
	e, ok := p.handlers[r.Method]
	if !ok {
		e = entry{h: p.fallback}
	}
	p.mu.Unlock()
	if e.inline {
		p.serve(e.h, r, note, c.ID)
		return
	}
	r.JSON, r.Tail = slices.Clone(r.JSON), slices.Clone(r.Tail)
	if !note {
		id := c.ID
		p.wg.Go(func() { p.serve(e.h, r, false, id) })
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, r)
	if !p.noteBusy {
		p.noteBusy = true
		p.wg.Go(p.runNotes)
	}
}

// runNotes handles queued notes in order and ends when there are none.
func (p *Peer) runNotes() {
	for {
		p.mu.Lock()
		if len(p.notes) == 0 || p.ctx.Err() != nil {
			p.noteBusy, p.notes = false, nil
			p.mu.Unlock()
			return
		}
		r := p.notes[0]
		p.notes = p.notes[1:]
		e, ok := p.handlers[r.Method]
		if !ok {
			e = entry{h: p.fallback}
		}
		p.mu.Unlock()
		p.serve(e.h, r, true, 0)
	}
}

// serve runs a handler and sends its answer.
func (p *Peer) serve(h Handler, r *Request, note bool, id uint32) {
	var out any
	var tail []byte
	var err error
	if h == nil {
		err = &spec.ErrorInfo{Type: "RaySystemError", Message: fmt.Sprintf("not supported yet: call %q", r.Method)}
	} else {
		out, tail, err = h(p.ctx, r)
	}
	if note {
		if err != nil && p.opts.NoteError != nil {
			p.opts.NoteError(r.Method, err)
		}
		return
	}
	_ = p.link.Send(AppendReply(nil, id, out, tail, err)) // the caller learns of a lost link by itself
}

// AppendReply encodes the answer of a handler to call id.
func AppendReply(b []byte, id uint32, out any, tail []byte, err error) []byte {
	text := []byte("null")
	if err == nil && out != nil {
		if text, err = asJSON(out); err != nil {
			err = fmt.Errorf("the answer cannot be encoded: %w", err)
		}
	}
	if err != nil {
		r := Reply{ID: id, Error: true, JSON: mustJSON(InfoOf(err))}
		return r.Append(b)
	}
	r := Reply{ID: id, JSON: text, Tail: tail}
	return r.Append(b)
}

// InfoOf is the ErrorInfo inside err, or one that holds its text.
func InfoOf(err error) *spec.ErrorInfo {
	var info *spec.ErrorInfo
	if errors.As(err, &info) {
		return info
	}
	return &spec.ErrorInfo{Type: "RaySystemError", Message: err.Error()}
}
