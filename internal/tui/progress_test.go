package tui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"ray/internal/bootstrap"
)

// shown feeds messages to the view and gives what it shows, without colours.
func shown(msgs ...any) string {
	start := time.Unix(0, 0)
	m := progressModel{width: 72, now: start, begun: start}
	for _, msg := range msgs {
		next, _ := m.Update(msg)
		m = next.(progressModel)
	}
	var lines []string
	for _, l := range strings.Split(ansi.Strip(m.View()), "\n") {
		lines = append(lines, strings.TrimRight(l, " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func event(number int, step string, phase bootstrap.Phase, text string) bootstrap.Event {
	return bootstrap.Event{Instance: "i-1", NodeType: "head", Number: number, Of: 3, Step: step, Phase: phase, Text: text, Took: time.Second}
}

func TestProgress(t *testing.T) {
	soFar := []any{
		stepMsg{3, 8, "Setting up the head"},
		event(1, "Waiting for the host", bootstrap.Begun, ""), event(1, "Waiting for the host", bootstrap.Done, ""),
		event(2, "Running setup commands", bootstrap.Begun, ""), event(2, "", bootstrap.Command, "(1/1) pip install x\nmore"),
		event(2, "", bootstrap.Output, "one"), event(2, "", bootstrap.Output, "\x1b[31mtwo\x1b[0m"),
		clockMsg(time.Unix(2, 5e8)),
	}
	if got, want := shown(soFar...), `Setting up the head (3/8)                                          2.5s
head i-1  ●◐·  Running setup commands  2.5s
    (1/1) pip install x
    │ two`; got != want {
		t.Errorf("running:\n%s\nwant\n%s", got, want)
	}
	failed := append(append([]any{}, soFar...), event(2, "", bootstrap.Failed, "exit status 1"), stopMsg{})
	if got, want := shown(failed...), `head i-1  ●✗·  Running setup commands failed
    (1/1) pip install x
    │ one
    │ two`; got != want {
		t.Errorf("failed:\n%s\nwant\n%s", got, want)
	}
	ready := append(append([]any{}, soFar...), event(2, "", bootstrap.Done, ""), event(3, "Starting the node", bootstrap.Skipped, "why"),
		bootstrap.Event{Instance: "i-22", NodeType: "cpu", Number: 1, Of: 3, Step: "Waiting for the host", Phase: bootstrap.Begun}, stopMsg{})
	if got, want := shown(ready...), `head i-1  ●●○  ready  in 3.0s
cpu i-22  ◐··  Waiting for the host  0.0s`; got != want {
		t.Errorf("ready:\n%s\nwant\n%s", got, want)
	}
}

func TestProgressKeepsWidthAndTail(t *testing.T) {
	msgs := []any{stepMsg{1, 2, strings.Repeat("long ", 40)}, event(2, strings.Repeat("step ", 40), bootstrap.Begun, ""), event(2, "", bootstrap.Command, strings.Repeat("c", 200))}
	for i := range 50 {
		msgs = append(msgs, event(2, "", bootstrap.Output, fmt.Sprint("line ", i, strings.Repeat("x", 100))))
	}
	msgs = append(msgs, event(2, "", bootstrap.Failed, "x"))
	lines := strings.Split(shown(msgs...), "\n")
	if len(lines) != 3+tailShown {
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		if ansi.StringWidth(l) > 71 {
			t.Errorf("%d cells: %s", ansi.StringWidth(l), l)
		}
	}
}
