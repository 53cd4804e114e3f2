package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"ray/internal/spec"
)

// ErrReset ends the calls that were in flight when the other side forgot the
// session.
var ErrReset = errors.New("the other side has started anew and lost this call")

// PeerOptions are the callbacks of a Peer; all may be nil. Those named "on
// the reader" must not block and must not wait for an answer of this peer.
type PeerOptions struct {
	// Frames gets every frame that is no CALL, REPLY or NOTE, on the reader.
	Frames func(Frame)
	// Reset is called when the other side has forgotten us and calls in flight
	// have failed, in a goroutine of its own: the place to register again.
	Reset func(ctx context.Context)
	// Closed is called once when the link has ended; nil error after Close.
	Closed func(error)
	// Note gets the error of a note's handler, which has no other way out.
	NoteError func(method string, err error)
}

// Peer is the other end of a link: calls to it, and handlers of its calls.
// Each call is handled in a goroutine of its own; notes in one goroutine, in
// the order in which they came. Close waits for all of them.
type Peer struct {
	link   Link
	opts   PeerOptions
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	handlers map[string]entry
	fallback Handler
	calls    map[uint32]func(Reply, error)
	next     uint32
	ended    error // set once the link is gone
	notes    []*Request
	noteBusy bool
}

type entry struct {
	h      Handler
	inline bool
}

// NewPeer makes a peer. Register handlers, then Start.
func NewPeer(link Link, opts PeerOptions) *Peer {
	p := &Peer{link: link, opts: opts, handlers: map[string]entry{}, calls: map[uint32]func(Reply, error){}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Handle sets the handler of a method.
func (p *Peer) Handle(method string, h Handler) { p.set(method, entry{h: h}) }

// HandleInline sets a handler that runs on the reader, in the order of
// frames, before any later frame is looked at. It must not block.
func (p *Peer) HandleInline(method string, h Handler) { p.set(method, entry{h: h, inline: true}) }

// HandleRest sets the handler of every method that has none.
func (p *Peer) HandleRest(h Handler) {
	p.mu.Lock()
	p.fallback = h
	p.mu.Unlock()
}

func (p *Peer) set(method string, e entry) {
	p.mu.Lock()
	p.handlers[method] = e
	p.mu.Unlock()
}

// Start begins to read. It is called once.
func (p *Peer) Start() {
	p.wg.Go(func() {
		err := p.link.Run(p.frame, p.reset)
		if err == nil {
			err = ErrClosed
		}
		p.cancel()
		p.fail(err, true)
		if p.opts.Closed != nil {
			p.opts.Closed(err)
		}
	})
}

// Link is what the peer runs on, for sending frames of other types.
func (p *Peer) Link() Link { return p.link }

// Done is closed when the link has ended.
func (p *Peer) Done() <-chan struct{} { return p.ctx.Done() }

// Call asks the other side and waits for the answer: in is sent as JSON (a
// json.RawMessage as it is), the answer is read into out (nil: not wanted).
// The error is a *spec.ErrorInfo if the other side said no.
func (p *Peer) Call(ctx context.Context, method string, in, out any, tail []byte) ([]byte, error) {
	wait, err := p.Ask(method, in, tail)
	if err != nil {
		return nil, err
	}
	return wait(ctx, out)
}

// Ask asks, in the order in which it is called; wait gives the answer as Call
// does, and is called once.
func (p *Peer) Ask(method string, in any, tail []byte) (wait func(ctx context.Context, out any) ([]byte, error), err error) {
	type answer struct {
		r   Reply
		err error
	}
	ch := make(chan answer, 1)
	id, err := p.CallAsync(method, in, tail, func(r Reply, err error) {
		r.JSON, r.Tail = slices.Clone(r.JSON), slices.Clone(r.Tail)
		ch <- answer{r, err}
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, out any) ([]byte, error) {
		select {
		case a := <-ch:
			if a.err != nil {
				return nil, fmt.Errorf("call %s: %w", method, a.err)
			}
			return a.r.Tail, a.r.into(method, out)
		case <-ctx.Done():
			p.mu.Lock()
			delete(p.calls, id)
			p.mu.Unlock()
			return nil, fmt.Errorf("call %s: %w", method, context.Cause(ctx))
		}
	}, nil
}

// into reads a reply's JSON, or its error.
func (r *Reply) into(method string, out any) error {
	if r.Error {
		return r.Err()
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(r.JSON, out); err != nil {
		return fmt.Errorf("call %s: its answer cannot be read: %w", method, err)
	}
	return nil
}

// Err is the reply's error, or nil.
func (r *Reply) Err() error {
	if !r.Error {
		return nil
	}
	info := &spec.ErrorInfo{}
	if err := json.Unmarshal(r.JSON, info); err != nil || info.Type == "" {
		return &spec.ErrorInfo{Type: "RaySystemError", Message: string(r.JSON)}
	}
	return info
}

// CallAsync asks without waiting: done gets the answer on the reader (its
// slices are valid inside the call only), or the error that ended the link.
// It is called exactly once unless CallAsync itself fails.
func (p *Peer) CallAsync(method string, in any, tail []byte, done func(Reply, error)) (uint32, error) {
	text, err := asJSON(in)
	if err != nil {
		return 0, fmt.Errorf("call %s: %w", method, err)
	}
	p.mu.Lock()
	if p.ended != nil {
		p.mu.Unlock()
		return 0, fmt.Errorf("call %s: %w", method, p.ended)
	}
	p.next++
	if p.next == 0 {
		p.next = 1 // 0 marks a note
	}
	id := p.next
	p.calls[id] = done
	p.mu.Unlock()
	call := Call{ID: id, Method: []byte(method), JSON: text, Tail: tail}
	if err := p.link.Send(call.Append(nil)); err != nil {
		p.mu.Lock()
		_, mine := p.calls[id]
		delete(p.calls, id)
		p.mu.Unlock()
		if mine {
			return 0, fmt.Errorf("call %s: %w", method, err)
		}
	}
	return id, nil
}

// Notify tells without an answer.
func (p *Peer) Notify(method string, in any, tail []byte) error {
	text, err := asJSON(in)
	if err != nil {
		return fmt.Errorf("note %s: %w", method, err)
	}
	note := Call{Method: []byte(method), JSON: text, Tail: tail}
	if err := p.link.Send(note.Append(nil)); err != nil {
		return fmt.Errorf("note %s: %w", method, err)
	}
	return nil
}

func asJSON(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok && len(raw) > 0 {
		return raw, nil
	}
	return json.Marshal(v)
}

func (p *Peer) reset() {
	p.fail(ErrReset, false)
	if p.opts.Reset != nil {
		p.wg.Go(func() { p.opts.Reset(p.ctx) })
	}
}

// fail ends every call in flight, and later ones too if final.
func (p *Peer) fail(err error, final bool) {
	p.mu.Lock()
	calls := p.calls
	p.calls = map[uint32]func(Reply, error){}
	if final {
		p.ended = err
	}
	p.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(calls)) { // whoever asks again keeps the order
		calls[id](Reply{}, err)
	}
}

// Close ends the link, cancels the handlers and waits for them. It must not
// be called from a handler or callback of this peer.
func (p *Peer) Close() error {
	p.cancel()
	err := p.link.Close()
	p.wg.Wait()
	return err
}
