package tui

import (
	"context"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"ray/internal/spec"
)

// Source gives the view its data. Calls come one at a time of each kind.
type Source interface {
	// Status is the cluster's present status.
	Status(ctx context.Context) (spec.Status, error)
	// Logs are the last lines of the log of a node's daemon, oldest first.
	Logs(ctx context.Context, node spec.NodeID, lines int) ([]string, error)
}

const (
	refreshEvery = time.Second
	fetchLimit   = 10 * time.Second
	logLines     = 500
)

// Messages that Update takes besides Bubble Tea's own.
type (
	statusMsg struct {
		status spec.Status
		err    error
		at     time.Time
	}
	logMsg struct {
		node  spec.NodeID
		lines []string
		err   error
	}
	tickMsg time.Time
)

// logView is the open log of one node.
type logView struct {
	node   spec.NodeID
	title  string
	lines  []string
	err    error
	loaded bool
	back   int // lines scrolled up from the end; 0 follows
}

// Model is the whole state of the view. It is a value: Update returns the
// next one.
type Model struct {
	ctx    context.Context
	source Source

	width, height int
	now           time.Time
	status        *spec.Status // nil before the first answer
	fetched       time.Time
	err           error // of the last fetch
	fetching      bool
	paused        bool

	selected string // key of the selected row of the node panel
	log      *logView
	help     bool
}

// New makes the model. Fetches end when ctx does. now is the time at which the
// view is opened.
func New(ctx context.Context, source Source, now time.Time) Model {
	return Model{ctx: ctx, source: source, now: now, fetching: true}
}

// Init starts the first fetch and the clock.
func (m Model) Init() tea.Cmd { return tea.Batch(m.fetch(), tick()) }

func tick() tea.Cmd {
	return tea.Tick(refreshEvery, func(t time.Time) tea.Msg { return tickMsg(t) })
}

func (m Model) fetch() tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, fetchLimit)
		defer cancel()
		status, err := m.source.Status(ctx)
		return statusMsg{status, err, time.Now()}
	}
}

func (m Model) fetchLog(node spec.NodeID) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, fetchLimit)
		defer cancel()
		lines, err := m.source.Logs(ctx, node, logLines)
		return logMsg{node, lines, err}
	}
}

// Update takes one message.
func (m Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case statusMsg:
		m.fetching = false
		m.err = msg.err
		if msg.err == nil {
			m.status, m.fetched = &msg.status, msg.at
			m.now = later(m.now, msg.at)
			m.keepSelection()
		}
	case logMsg:
		m.takeLog(msg)
	case tickMsg:
		m.now = later(m.now, time.Time(msg))
		cmds := []tea.Cmd{tick()}
		if !m.fetching && !m.paused {
			m.fetching = true
			cmds = append(cmds, m.fetch())
			if m.log != nil {
				cmds = append(cmds, m.fetchLog(m.log.node))
			}
		}
		return m, tea.Batch(cmds...)
	case tea.KeyMsg:
		return m.key(msg.String())
	}
	return m, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (m *Model) takeLog(msg logMsg) {
	if m.log == nil || m.log.node != msg.node {
		return // of a log that was closed meanwhile
	}
	log := *m.log
	log.loaded, log.err = true, msg.err
	if msg.err == nil {
		log.lines = msg.lines
	}
	m.log = &log
}

// key handles a key press.
func (m Model) key(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "q", "ctrl+c":
		return m, tea.Quit
	case "?", "h":
		m.help = !m.help
	case "esc":
		if m.help {
			m.help = false
		} else {
			m.log = nil
		}
	case "r":
		if !m.fetching {
			m.fetching = true
			return m, m.fetch()
		}
	case "p", " ":
		m.paused = !m.paused
	case "up", "k":
		return m.moveSelection(-1)
	case "down", "j":
		return m.moveSelection(1)
	case "home", "g":
		return m.moveSelection(-1 << 20)
	case "end", "G":
		return m.moveSelection(1 << 20)
	case "pgup", "b":
		m.scrollLog(10)
	case "pgdown", "f":
		m.scrollLog(-10)
	case "enter", "l":
		return m.toggleLog()
	}
	return m, nil
}

func (m *Model) scrollLog(lines int) {
	if m.log == nil {
		return
	}
	log := *m.log
	log.back = min(max(0, log.back+lines), max(0, len(log.lines)-1))
	m.log = &log
}

// toggleLog opens the log of the selected node, or closes it.
func (m Model) toggleLog() (tea.Model, tea.Cmd) {
	row, ok := m.selectedRow()
	if m.log != nil && (!ok || row.node == nil || row.node.ID == m.log.node) {
		m.log = nil
		return m, nil
	}
	return m.openLog(row)
}

func (m Model) openLog(row nodeRow) (tea.Model, tea.Cmd) {
	if row.node == nil {
		return m, nil // it is not there yet
	}
	m.log = &logView{node: row.node.ID, title: row.name}
	return m, m.fetchLog(row.node.ID)
}

// moveSelection moves by rows; an open log follows the selection.
func (m Model) moveSelection(by int) (tea.Model, tea.Cmd) {
	rows := m.selectable()
	if len(rows) == 0 {
		return m, nil
	}
	at := 0
	for i, r := range rows {
		if r.key == m.selected {
			at = i
		}
	}
	row := rows[min(max(0, at+by), len(rows)-1)]
	m.selected = row.key
	if m.log != nil && row.node != nil && row.node.ID != m.log.node {
		return m.openLog(row)
	}
	return m, nil
}

// keepSelection selects the first row if the selected one has gone.
func (m *Model) keepSelection() {
	if _, ok := m.selectedRow(); ok {
		return
	}
	m.selected = ""
	if rows := m.selectable(); len(rows) > 0 {
		m.selected = rows[0].key
	}
}

func (m Model) selectedRow() (nodeRow, bool) {
	for _, r := range m.selectable() {
		if r.key == m.selected {
			return r, true
		}
	}
	return nodeRow{}, false
}
