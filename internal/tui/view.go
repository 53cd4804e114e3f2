package tui

import (
	"fmt"
	"strings"
	"time"

	"ray/internal/spec"
)

// Sizes at which the layout changes.
const (
	wideFrom   = 110 // two columns
	leastWidth = 40
	leastRows  = 8
)

// View draws the screen: exactly height lines of width cells.
func (m Model) View() string {
	if m.width == 0 || m.height == 0 {
		return ""
	}
	if m.width < leastWidth || m.height < leastRows {
		return fmt.Sprintf("The window is too small (%d×%d, at least %d×%d).", m.width, m.height, leastWidth, leastRows)
	}
	lines := []string{m.headerLine()}
	body := m.height - 2
	switch {
	case m.help:
		lines = append(lines, panel("Keys", "", helpLines(), m.width, body)...)
	case m.status == nil:
		lines = append(lines, panel("Cluster", "", m.waitScreen(), m.width, body)...)
	default:
		lines = append(lines, m.body(body)...)
	}
	lines = append(lines, m.footerLine())
	for i := range lines {
		lines[i] = fit(lines[i], m.width)
	}
	return strings.Join(lines, "\n")
}

func (m Model) waitScreen() []string {
	if m.err != nil {
		return append([]string{bad.Render("The cluster does not answer.")}, wrap(m.err.Error(), m.width-6, 6)...)
	}
	return []string{dim.Render("Waiting for the cluster's first answer …")}
}

func (m Model) headerLine() string {
	name := "ray"
	if m.status != nil {
		if m.status.ClusterName != "" {
			name += " · " + m.status.ClusterName
		}
	}
	left := " " + title.Render(name)
	if m.status != nil {
		left += "  " + m.summary()
	}
	return spread(left, m.freshness()+" ", m.width)
}

// summary counts nodes by state.
func (m Model) summary() string {
	counts := map[string]int{}
	total := 0
	for i := range m.status.Nodes {
		if n := &m.status.Nodes[i]; n.State != spec.NodeDead {
			counts[nodeState(n)]++
			total++
		}
	}
	counts["starting"] = len(m.status.Pending)
	parts := []string{plural(total, "node")}
	for _, state := range []string{"busy", "idle", "draining", "starting"} {
		if counts[state] > 0 {
			parts = append(parts, stateStyle(state).Render(stateMark(state)+fmt.Sprintf(" %d %s", counts[state], state)))
		}
	}
	return strings.Join(parts, "  ")
}

// freshness says how old the data is, and why if it is old.
func (m Model) freshness() string {
	if m.status == nil {
		return ""
	}
	age := m.now.Sub(m.fetched)
	switch {
	case m.err != nil:
		return bad.Render(fmt.Sprintf("no answer, data is %s old", short(age)))
	case m.paused:
		return warn.Render("paused " + short(age))
	case age > 3*time.Second:
		return warn.Render("data is " + short(age) + " old")
	}
	return dim.Render("live")
}

func (m Model) footerLine() string {
	keys := [][2]string{{"↑↓", "node"}, {"enter", "log"}, {"p", "pause"}, {"r", "refresh"}, {"?", "keys"}, {"q", "quit"}}
	if m.log != nil {
		keys = [][2]string{{"↑↓", "node"}, {"pgup/pgdn", "scroll"}, {"esc", "close log"}, {"?", "keys"}, {"q", "quit"}}
	}
	var parts []string
	for _, k := range keys {
		parts = append(parts, bold.Render(k[0])+" "+dim.Render(k[1]))
	}
	left := " " + strings.Join(parts, dim.Render("  "))
	right := ""
	if m.status != nil && m.status.Dashboard != "" {
		right = dim.Render(m.status.Dashboard) + " "
	}
	return spread(left, right, m.width)
}

func helpLines() []string {
	var lines []string
	for _, k := range [][2]string{
		{"↑ ↓  j k", "select a node"}, {"home end", "first, last node"},
		{"enter  l", "open or close the log of the selected node"}, {"pgup pgdn", "scroll the log; at its end it follows"},
		{"p  space", "pause and go on"}, {"r", "refresh now"}, {"esc", "close the log or this page"}, {"q  ctrl+c", "quit; the cluster goes on"},
		{"", ""},
		{"● busy", "runs something"}, {"○ idle", "leaves after its idle timeout"}, {"◐ draining", "gives up its work and leaves"}, {"◌ starting", "a machine on its way"},
	} {
		lines = append(lines, bold.Render(fit(k[0], 12))+" "+dim.Render(k[1]))
	}
	return lines
}

// body fills the rows between header and footer.
func (m Model) body(rows int) []string {
	resources := m.resourceLines(m.width - 4)
	height := min(len(resources)+2, max(3, rows/4))
	lines := panel("Resources", "", resources, m.width, height)
	rows -= height
	logRows := 0
	if m.log != nil {
		logRows = max(5, rows/2)
		if rows-logRows < 5 {
			logRows = rows
		}
	}
	if rest := rows - logRows; rest > 0 {
		if m.width >= wideFrom {
			lines = append(lines, m.columns(rest)...)
		} else {
			lines = append(lines, m.stack(rest)...)
		}
	}
	if logRows > 0 {
		lines = append(lines, m.logPanel(logRows)...)
	}
	return lines
}

// columns puts nodes and work to the left of what waits and events.
func (m Model) columns(rows int) []string {
	left := m.width * 11 / 20
	right := m.width - left
	upper := m.upperRows(rows)
	l := m.nodePanel(left, upper)
	l = append(l, m.workPanel(left, rows-upper)...)
	waiting := min(max(len(m.waitingLines(right-4))+2, 3), max(3, rows/2))
	if rows-waiting < 3 {
		waiting = rows
	}
	r := m.waitingPanel(right, waiting)
	r = append(r, m.eventPanel(right, rows-waiting)...)
	return beside(l, r)
}

// upperRows is how many rows the node panel gets of a column.
func (m Model) upperRows(rows int) int {
	want := max(len(m.nodeRows())+2, 4)
	work := len(m.workLines(80)) + 2
	upper := max(rows-work, rows*3/5, min(want, rows*3/5))
	if rows-upper < 3 {
		return rows
	}
	return upper
}

// stack puts the panels under each other; those that find no room are left
// out from the end.
func (m Model) stack(rows int) []string {
	type part struct {
		want int
		draw func(width, height int) []string
	}
	parts := []part{
		{max(4, len(m.nodeRows())+2), m.nodePanel},
		{len(m.waitingLines(m.width-4)) + 2, m.waitingPanel},
		{len(m.workLines(m.width-4)) + 2, m.workPanel},
		{6, m.eventPanel},
	}
	parts = parts[:min(len(parts), max(1, rows/4))]
	if m.log != nil {
		parts = parts[:1] // the log is what one looks at
	}
	heights := make([]int, len(parts))
	left := rows
	for i := range parts { // a least height for each, then what each wants
		heights[i] = min(4, left)
		left -= heights[i]
	}
	for i, p := range parts {
		more := min(left, max(0, p.want-heights[i]))
		heights[i] += more
		left -= more
	}
	heights[len(parts)-1] += left
	var lines []string
	for i, p := range parts {
		lines = append(lines, p.draw(m.width, heights[i])...)
	}
	return lines
}

func (m Model) nodePanel(width, height int) []string {
	return panel("Nodes", "", m.nodeLines(width-4, height-2), width, height)
}

func (m Model) workPanel(width, height int) []string {
	return panel("Tasks and actors", m.workNote(), m.workLines(width-4), width, height)
}

func (m Model) waitingPanel(width, height int) []string {
	return panel("Waiting", "", m.waitingLines(width-4), width, height)
}

func (m Model) eventPanel(width, height int) []string {
	return panel("Events", "", m.eventLines(width-4, height-2), width, height)
}

// logPanel shows the end of the open log, or the part scrolled to.
func (m Model) logPanel(height int) []string {
	room := max(1, height-2)
	note := "follows"
	var lines []string
	switch {
	case m.log.err != nil:
		lines = wrap(bad.Render("The log cannot be read: "+m.log.err.Error()), m.width-6, room)
	case !m.log.loaded:
		lines = []string{dim.Render("Reading the log …")}
	case len(m.log.lines) == 0:
		lines = []string{dim.Render("The log is empty.")}
	default:
		end := max(min(room, len(m.log.lines)), len(m.log.lines)-m.log.back)
		for _, line := range m.log.lines[max(0, end-room):end] {
			lines = append(lines, clean(line))
		}
		if m.log.back > 0 {
			note = fmt.Sprintf("%d lines from the end", len(m.log.lines)-end)
		}
	}
	return panel("Log of "+m.log.title, note, lines, m.width, height)
}

// clean keeps control characters of a log from reaching the terminal.
func clean(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, line)
}
