package docker

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"ray/internal/sshx"
	"ray/providers"
)

// request is what the head asks of the agent: one line of JSON, one for each
// connection.
type request struct {
	Secret  string   `json:"secret"`
	Op      string   `json:"op"`
	Create  order    `json:"create,omitzero"`
	IDs     []string `json:"ids,omitempty"`
	ID      string   `json:"id,omitempty"`
	Command command  `json:"command,omitzero"`

	Tags map[string]string `json:"tags,omitempty"`
}

// order is what of a CreateRequest can be sent.
type order struct {
	Token string            `json:"token"`
	Type  string            `json:"type"`
	Count int               `json:"count"`
	Tags  map[string]string `json:"tags,omitempty"`
}

type command struct {
	Line  string            `json:"line"`
	Env   map[string]string `json:"env,omitempty"`
	Login bool              `json:"login,omitempty"`
	Input bool              `json:"input,omitempty"`
}

// response is the answer, one line of JSON. A command's frames follow it.
type response struct {
	Instances []providers.Instance `json:"instances,omitempty"`
	Error     *failure             `json:"error,omitempty"`
}

// failure is an error on its way.
type failure struct {
	Text  string          `json:"text"`
	Cause providers.Cause `json:"cause,omitempty"`
	Op    string          `json:"op,omitempty"`
	Hint  string          `json:"hint,omitempty"`
	None  bool            `json:"none,omitempty"` // providers.ErrNoInstance
}

func wrap(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error(), None: errors.Is(err, providers.ErrNoInstance)}
	var e *providers.Error
	if errors.As(err, &e) {
		f.Cause, f.Op, f.Hint = e.Cause, e.Op, e.Hint
		if e.Err != nil {
			f.Text = e.Err.Error()
		}
	}
	return f
}

func (f *failure) unwrap() error {
	switch {
	case f == nil:
		return nil
	case f.None:
		return fmt.Errorf("%s: %w", f.Text, providers.ErrNoInstance)
	case f.Cause != "":
		return &providers.Error{Cause: f.Cause, Op: f.Op, Hint: f.Hint, Err: errors.New(f.Text)}
	}
	return errors.New(f.Text)
}

func reply(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// Kinds of a command's frames: a byte for the kind, four for the length.
const (
	frameIn  = 0 // empty: the end of the input
	frameOut = 1
	frameErr = 2
	frameEnd = 3 // an outcome as JSON
)

// outcome is how a command ended.
type outcome struct {
	Code   int    `json:"code,omitempty"`
	Signal string `json:"signal,omitempty"`
	Text   string `json:"text,omitempty"` // why it could not be run
}

// frames writes frames of several streams.
type frames struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frames) write(kind byte, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	head := [5]byte{kind}
	binary.BigEndian.PutUint32(head[1:], uint32(len(data)))
	if _, err := f.w.Write(head[:]); err != nil {
		return err
	}
	_, err := f.w.Write(data)
	return err
}

func (f *frames) end(err error) error {
	var o outcome
	var exit *sshx.ExitError
	switch {
	case errors.As(err, &exit):
		o.Code, o.Signal = exit.Code, exit.Signal
	case err != nil:
		o.Text = err.Error()
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return f.write(frameEnd, data)
}

func (f *frames) stream(kind byte) io.Writer { return &stream{f, kind} }

type stream struct {
	frames *frames
	kind   byte
}

func (s *stream) Write(data []byte) (int, error) {
	const most = 64 << 10
	for at := 0; at < len(data); at += most {
		if err := s.frames.write(s.kind, data[at:min(at+most, len(data))]); err != nil {
			return at, err
		}
	}
	return len(data), nil
}

// readFrame reads one frame; none is longer than what stream writes.
func readFrame(r io.Reader) (kind byte, data []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > 1<<20 {
		return 0, nil, errors.New("a frame is too long")
	}
	data = make([]byte, n)
	_, err = io.ReadFull(r, data)
	return head[0], data, err
}

// input is the input of a command, from frames.
type input struct {
	r *io.PipeReader
	w *io.PipeWriter
}

func newInput() *input {
	r, w := io.Pipe()
	return &input{r, w}
}

func (i *input) reader(given bool) io.Reader {
	if !given {
		return nil
	}
	return i.r
}

// fill passes frames on until the connection ends; what the command does not
// read any more is dropped.
func (i *input) fill(r *bufio.Reader) {
	for {
		kind, data, err := readFrame(r)
		if err != nil {
			_ = i.w.CloseWithError(io.ErrUnexpectedEOF)
			return
		}
		if kind == frameIn && len(data) == 0 {
			_ = i.w.Close()
		} else if kind == frameIn {
			_, _ = i.w.Write(data)
		}
	}
}

func (i *input) close() { _ = i.r.Close() }

// remote is the provider in the head's container: it asks the agent.
type remote struct{ path, secret, cluster string }

var _ providers.Provider = (*remote)(nil)

func (r *remote) Traits() providers.Traits { return traits }

// ask connects and sends a request; the connection ends with ctx.
func (r *remote) ask(ctx context.Context, req request) (net.Conn, *bufio.Reader, response, error) {
	req.Secret = r.secret
	var res response
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", r.path)
	if err != nil {
		return nil, nil, res, &providers.Error{Cause: providers.Transient, Op: "docker provider: " + req.Op, Err: err,
			Hint: "the agent on the machine is gone; `ray up` there starts it again"}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	in := bufio.NewReader(conn)
	err = reply(conn, req)
	if err == nil {
		var line []byte
		if line, err = in.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &res)
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	} else if err != nil {
		err = &providers.Error{Cause: providers.Transient, Op: "docker provider: " + req.Op, Err: fmt.Errorf("the agent did not answer: %w", err)}
	}
	if err == nil {
		err = res.Error.unwrap()
	}
	if err != nil {
		_ = conn.Close()
	}
	return conn, in, res, err
}

func (r *remote) simple(ctx context.Context, req request) ([]providers.Instance, error) {
	conn, _, res, err := r.ask(ctx, req)
	if conn != nil {
		_ = conn.Close()
	}
	return res.Instances, err
}

func (r *remote) Create(ctx context.Context, req providers.CreateRequest) ([]providers.Instance, error) {
	return r.simple(ctx, request{Op: "create", Create: order{req.Token, req.Type, req.Count, req.Tags}})
}

func (r *remote) List(ctx context.Context) ([]providers.Instance, error) {
	return r.simple(ctx, request{Op: "list"})
}

func (r *remote) Terminate(ctx context.Context, ids []string) error {
	_, err := r.simple(ctx, request{Op: "terminate", IDs: ids})
	return err
}

func (r *remote) Host(ctx context.Context, id string) (sshx.Host, error) {
	if _, err := r.simple(ctx, request{Op: "host", ID: id}); err != nil {
		return nil, err
	}
	return &sshx.CommandHost{
		Name:     id,
		RunFunc:  func(ctx context.Context, c sshx.Command) error { return r.run(ctx, id, c) },
		DialLine: dialLine,
	}, nil
}

// run carries out a command in the container of an instance.
func (r *remote) run(ctx context.Context, id string, c sshx.Command) error {
	if c.TTY {
		return errors.New("not supported yet: a terminal on another node of the docker provider")
	}
	conn, in, _, err := r.ask(ctx, request{Op: "run", ID: id, Command: command{Line: c.Line, Env: c.Env, Login: c.Login, Input: c.Stdin != nil}})
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &sshx.ConnError{Host: id, Reason: sshx.Lost, Err: err}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	if c.Stdin != nil {
		go func() { // ends with its input, or with the connection
			f := &frames{w: conn}
			_, _ = io.Copy(f.stream(frameIn), c.Stdin)
			_ = f.write(frameIn, nil)
		}()
	}
	for {
		kind, data, err := readFrame(in)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return &sshx.ConnError{Host: id, Reason: sshx.Lost, Err: err}
		case kind == frameOut && c.Stdout != nil:
			_, _ = c.Stdout.Write(data)
		case kind == frameErr && c.Stderr != nil:
			_, _ = c.Stderr.Write(data)
		case kind == frameEnd:
			return ended(id, data)
		}
	}
}

func ended(id string, data []byte) error {
	var o outcome
	switch err := json.Unmarshal(data, &o); {
	case err != nil:
		return err
	case o.Text != "":
		return &sshx.ConnError{Host: id, Reason: sshx.Lost, Err: errors.New(o.Text)}
	case o.Code != 0:
		return &sshx.ExitError{Code: o.Code, Signal: o.Signal}
	}
	return nil
}
