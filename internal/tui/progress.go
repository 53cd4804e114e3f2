package tui

import (
	"fmt"
	"io"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"ray/internal/bootstrap"
)

// Progress is a live view, in place below the prompt, of nodes that are being
// set up. Its methods may be called at the same time from several goroutines.
type Progress struct {
	program *tea.Program
	ended   chan struct{}
}

// StartProgress begins the view; Stop ends it. It reads no input, so Ctrl-C
// stays the caller's.
func StartProgress(out io.Writer, width int) *Progress {
	p := &Progress{ended: make(chan struct{})}
	m := progressModel{width: width, now: time.Now(), begun: time.Now()}
	p.program = tea.NewProgram(m, tea.WithInput(nil), tea.WithOutput(out), tea.WithoutSignalHandler())
	go func() {
		defer close(p.ended)
		_, _ = p.program.Run()
	}()
	return p
}

// Step tells that the verb is at its step number of so many.
func (p *Progress) Step(number, of int, title string) {
	p.program.Send(stepMsg{number, of, title})
}

// Node tells what happens on a node.
func (p *Progress) Node(e bootstrap.Event) { p.program.Send(e) }

// Say prints a line above the view, where it stays.
func (p *Progress) Say(line string) { p.program.Println(line) }

// Pause clears the view while f has the terminal, to ask something.
func (p *Progress) Pause(f func()) {
	_ = p.program.ReleaseTerminal()
	f()
	_ = p.program.RestoreTerminal()
}

// Stop leaves what the view shows last on the terminal.
func (p *Progress) Stop() {
	p.program.Send(stopMsg{})
	<-p.ended
}

type (
	stepMsg struct {
		number, of int
		title      string
	}
	stopMsg  struct{}
	clockMsg time.Time
)

// tailShown is how many lines of a failing command's output are shown.
const tailShown = 8

// nodeProgress is one row.
type nodeProgress struct {
	id, nodeType string
	phases       []bootstrap.Phase // of each step, "" before it
	took         []time.Duration
	step         string
	begun        time.Time // of the step
	command      string
	tail         []string
	reason       string // of a failure
}

// progressModel is the view's whole state; Update returns the next one.
type progressModel struct {
	width      int
	now, begun time.Time
	step       stepMsg
	nodes      []nodeProgress // in the order in which they appeared
	stopped    bool
}

// Init starts the clock.
func (m progressModel) Init() tea.Cmd { return clock() }

func clock() tea.Cmd {
	return tea.Tick(100*time.Millisecond, func(t time.Time) tea.Msg { return clockMsg(t) })
}

// Update takes one message.
func (m progressModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width = msg.Width
	case clockMsg:
		m.now = time.Time(msg)
		return m, clock()
	case stepMsg:
		m.step = msg
	case bootstrap.Event:
		m.nodes = m.taken(msg)
	case stopMsg:
		m.stopped = true
		return m, tea.Quit
	}
	return m, nil
}

// taken gives the rows with an event in its own.
func (m progressModel) taken(e bootstrap.Event) []nodeProgress {
	nodes := append([]nodeProgress(nil), m.nodes...)
	at := -1
	for i := range nodes {
		if nodes[i].id == e.Instance {
			at = i
		}
	}
	if at < 0 {
		nodes = append(nodes, nodeProgress{id: e.Instance, nodeType: e.NodeType})
		at = len(nodes) - 1
	}
	n := nodes[at]
	if len(n.phases) != e.Of {
		n.phases, n.took = make([]bootstrap.Phase, e.Of), make([]time.Duration, e.Of)
	}
	n.phases, n.took = append([]bootstrap.Phase(nil), n.phases...), append([]time.Duration(nil), n.took...)
	i := e.Number - 1
	switch e.Phase {
	case bootstrap.Begun:
		n.phases[i], n.step, n.begun, n.command, n.tail = e.Phase, e.Step, m.now, "", nil
	case bootstrap.Done, bootstrap.Skipped:
		n.phases[i], n.took[i], n.command, n.tail = e.Phase, e.Took, "", nil
	case bootstrap.Failed:
		n.phases[i], n.reason = e.Phase, e.Text
	case bootstrap.Command:
		n.command, n.tail = e.Text, nil
	case bootstrap.Output:
		n.tail = append(append([]string(nil), n.tail...), e.Text)
		if len(n.tail) > tailShown {
			n.tail = n.tail[len(n.tail)-tailShown:]
		}
	}
	nodes[at] = n
	return nodes
}

// View draws the state.
func (m progressModel) View() string {
	width := max(m.width, 40)
	var lines []string
	if m.step.of > 0 && !m.stopped {
		head := bold.Render(m.step.title) + dim.Render(fmt.Sprintf(" (%d/%d)", m.step.number, m.step.of))
		lines = append(lines, spread(head, dim.Render(seconds(m.now.Sub(m.begun))), width-1))
	}
	wide := 0
	for _, n := range m.nodes {
		wide = max(wide, ansi.StringWidth(n.name()))
	}
	for _, n := range m.nodes {
		lines = append(lines, n.lines(wide, width-1, m.now)...)
	}
	return strings.Join(lines, "\n") + "\n"
}

func (n nodeProgress) name() string { return n.nodeType + " " + n.id }

// lines are the row of a node: its phases, the step it is at, and below that
// the current command, with the end of its output where it failed.
func (n nodeProgress) lines(name, width int, now time.Time) []string {
	var marks strings.Builder
	var total time.Duration
	failed, ready := false, len(n.phases) > 0
	for i, p := range n.phases {
		total += n.took[i]
		ready = ready && (p == bootstrap.Done || p == bootstrap.Skipped)
		failed = failed || p == bootstrap.Failed
		marks.WriteString(mark(p))
	}
	status := fmt.Sprintf("%s  %s", n.step, dim.Render(seconds(now.Sub(n.begun))))
	switch {
	case failed:
		status = bad.Render(n.step + " failed")
	case ready:
		status = good.Render("ready") + "  " + dim.Render("in "+seconds(total))
	}
	out := []string{fit(fit(n.name(), name)+"  "+marks.String()+"  "+status, width)}
	if ready || n.command == "" && !failed {
		return out
	}
	if n.command != "" {
		command, _, _ := strings.Cut(n.command, "\n")
		out = append(out, fit(dim.Render("    "+command), width))
	}
	tail := n.tail
	if !failed && len(tail) > 1 {
		tail = tail[len(tail)-1:]
	}
	for _, line := range tail {
		out = append(out, fit(dim.Render("    │ "+ansi.Strip(line)), width))
	}
	return out
}

func mark(p bootstrap.Phase) string {
	switch p {
	case bootstrap.Done:
		return good.Render("●")
	case bootstrap.Skipped:
		return dim.Render("○")
	case bootstrap.Failed:
		return bad.Render("✗")
	case bootstrap.Begun:
		return coming.Render("◐")
	}
	return dim.Render("·")
}

// seconds prints a duration to a tenth of a second, or in minutes.
func seconds(d time.Duration) string {
	d = max(0, d)
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
