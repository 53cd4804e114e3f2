package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"ray/internal/bootstrap"
	"ray/internal/launcher"
	"ray/internal/tui"
)

// progress is how a verb shows what it does: a live view on a terminal, plain
// lines elsewhere, or one JSON object a line.
type progress interface {
	// wire connects the launcher; done, when the verb has ended with err, takes
	// the view down.
	wire(l *launcher.Launcher)
	done(err error)
}

// newProgress chooses by where the output goes.
func newProgress(out io.Writer, asJSON, verbose bool, look *look) progress {
	if asJSON {
		return &jsonProgress{out: json.NewEncoder(out)}
	}
	file, ok := out.(*os.File)
	if ok && !verbose && look.style != "record" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd())) {
		return &liveProgress{out: file}
	}
	return &lineProgress{out: look.writer(out), verbose: verbose}
}

// lineProgress prints plain lines.
type lineProgress struct {
	out     io.Writer
	verbose bool
}

func (p *lineProgress) wire(l *launcher.Launcher) {
	l.Out, l.Progress = p.out, progressLines(p.out, p.verbose)
}

func (p *lineProgress) done(error) {}

// progressEvent is one line of --json.
type progressEvent struct {
	Time  time.Time        `json:"time"`
	Event string           `json:"event"` // step, message, node or result
	Step  string           `json:"step,omitempty"`
	N     int              `json:"number,omitempty"`
	Of    int              `json:"of,omitempty"`
	Text  string           `json:"text,omitempty"`
	Node  *bootstrap.Event `json:"node,omitempty"`
	OK    *bool            `json:"ok,omitempty"`
	Error string           `json:"error,omitempty"`
}

type jsonProgress struct {
	mu  sync.Mutex
	out *json.Encoder
}

func (p *jsonProgress) print(e progressEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Time = time.Now().UTC()
	_ = p.out.Encode(e)
}

func (p *jsonProgress) wire(l *launcher.Launcher) {
	l.Out = &lineWriter{each: func(line string) {
		if strings.TrimSpace(line) != "" {
			p.print(progressEvent{Event: "message", Text: line})
		}
	}}
	l.Progress = func(e bootstrap.Event) { p.print(progressEvent{Event: "node", Node: &e}) }
	l.Step = func(n, of int, title string) { p.print(progressEvent{Event: "step", Step: title, N: n, Of: of}) }
}

func (p *jsonProgress) done(err error) {
	ok := err == nil
	e := progressEvent{Event: "result", OK: &ok}
	if err != nil {
		e.Error = err.Error()
	}
	p.print(e)
}

// liveProgress is the view on a terminal. It begins with the first step, so
// that a verb that has nothing to do prints a line and no more.
type liveProgress struct {
	out *os.File

	mu   sync.Mutex
	view *tui.Progress
	over bool
}

// begin gives the view, starting it first; nil when the verb is over.
func (p *liveProgress) begin() *tui.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.view == nil && !p.over {
		width, _, err := term.GetSize(int(p.out.Fd()))
		if err != nil {
			width = 80
		}
		p.view = tui.StartProgress(p.out, width)
	}
	return p.view
}

func (p *liveProgress) current() *tui.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return nil
	}
	return p.view
}

func (p *liveProgress) wire(l *launcher.Launcher) {
	l.Step = func(n, of int, title string) {
		if v := p.begin(); v != nil {
			v.Step(n, of, title)
		}
	}
	l.Progress = func(e bootstrap.Event) {
		if v := p.begin(); v != nil {
			v.Node(e)
		}
	}
	l.Out = &lineWriter{each: func(line string) {
		if v := p.current(); v != nil {
			v.Say(line)
			return
		}
		_, _ = fmt.Fprintln(p.out, line)
	}}
	ask := l.Confirm
	l.Confirm = func(question string) (yes bool, err error) {
		v := p.current()
		if v == nil {
			return ask(question)
		}
		v.Pause(func() { yes, err = ask(question) })
		return yes, err
	}
	l.Quiet = p.stop
}

// stop ends the view; what is printed afterwards goes below it.
func (p *liveProgress) stop() {
	p.mu.Lock()
	view := p.view
	p.over = true
	p.mu.Unlock()
	if view != nil {
		view.Stop()
	}
}

func (p *liveProgress) done(error) { p.stop() }

// lineWriter hands whole lines on.
type lineWriter struct {
	each func(line string)

	mu   sync.Mutex
	part []byte
}

// Write implements io.Writer; it never fails.
func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.part = append(w.part, b...)
	for {
		i := bytes.IndexByte(w.part, '\n')
		if i < 0 {
			return len(b), nil
		}
		w.each(string(w.part[:i]))
		w.part = w.part[i+1:]
	}
}

// progressLines prints the steps of bootstrap, a line each.
func progressLines(out io.Writer, verbose bool) func(bootstrap.Event) {
	var mu sync.Mutex
	return func(e bootstrap.Event) {
		mu.Lock()
		defer mu.Unlock()
		at := fmt.Sprintf("%s: [%d/%d] %s", e.NodeType, e.Number, e.Of, e.Step)
		switch e.Phase {
		case bootstrap.Begun:
			_, _ = fmt.Fprintln(out, at)
		case bootstrap.Skipped:
			_, _ = fmt.Fprintln(out, tui.Faint(at+": skipped ("+e.Text+")"))
		case bootstrap.Failed:
			_, _ = fmt.Fprintln(out, tui.Failed(at+": failed"))
		case bootstrap.Command:
			first, _, more := strings.Cut(strings.TrimSpace(e.Text), "\n")
			if more {
				first += " …"
			}
			_, _ = fmt.Fprintln(out, tui.Faint("    "+first))
		case bootstrap.Output:
			if verbose {
				_, _ = fmt.Fprintf(out, "    | %s\n", e.Text)
			}
		case bootstrap.Done:
		}
	}
}
