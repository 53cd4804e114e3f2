package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
)

func adaptive(light, dark string) lipgloss.AdaptiveColor {
	return lipgloss.AdaptiveColor{Light: light, Dark: dark}
}

// The palette: one accent, and colours that mean a state.
var (
	accent = lipgloss.NewStyle().Foreground(adaptive("26", "75"))
	bold   = lipgloss.NewStyle().Bold(true)
	title  = lipgloss.NewStyle().Bold(true).Foreground(adaptive("26", "75"))
	dim    = lipgloss.NewStyle().Foreground(adaptive("245", "243"))
	frame  = lipgloss.NewStyle().Foreground(adaptive("250", "238"))
	good   = lipgloss.NewStyle().Foreground(adaptive("28", "78"))
	warn   = lipgloss.NewStyle().Foreground(adaptive("130", "214"))
	bad    = lipgloss.NewStyle().Foreground(adaptive("124", "203"))
	coming = lipgloss.NewStyle().Foreground(adaptive("31", "80"))
	cursor = lipgloss.NewStyle().Background(adaptive("254", "236")).Bold(true)
)

// fit cuts or pads a line, which may hold colours, to exactly width cells.
func fit(line string, width int) string {
	if width <= 0 {
		return ""
	}
	if w := ansi.StringWidth(line); w <= width {
		return line + strings.Repeat(" ", width-w)
	}
	return ansi.Truncate(line, width, "…")
}

// spread puts left and right at the ends of a line of width cells; the right
// part goes first if there is no room.
func spread(left, right string, width int) string {
	gap := width - ansi.StringWidth(left) - ansi.StringWidth(right)
	if gap < 1 {
		return fit(left, width)
	}
	return left + strings.Repeat(" ", gap) + right
}

// wrap breaks text into lines of at most width cells and at most most lines.
func wrap(text string, width, most int) []string {
	lines := strings.Split(ansi.Wrap(text, max(1, width), ""), "\n")
	if len(lines) > most {
		lines = lines[:most]
		lines[most-1] = ansi.Truncate(lines[most-1], max(1, width-1), "") + "…"
	}
	return lines
}

// panel draws a frame of exactly width × height cells with a title and lines
// in it. Lines that do not fit are counted in the lower edge.
func panel(name, note string, lines []string, width, height int) []string {
	if height < 2 {
		return make([]string, max(0, height))
	}
	inner := width - 4
	head := " " + title.Render(name) + " "
	if note != "" {
		head += dim.Render(note) + " "
	}
	head = ansi.Truncate(head, width-4, "… ")
	out := []string{frame.Render("╭─") + head + frame.Render(strings.Repeat("─", max(0, width-3-ansi.StringWidth(head)))+"╮")}
	room := height - 2
	for i := range room {
		line := ""
		if i < len(lines) {
			line = lines[i]
		}
		out = append(out, frame.Render("│")+" "+fit(line, inner)+" "+frame.Render("│"))
	}
	more := ""
	if n := len(lines) - room; n > 0 {
		more = fmt.Sprintf(" %d more ", n)
	}
	rule := strings.Repeat("─", max(0, width-3-ansi.StringWidth(more)))
	return append(out, frame.Render("╰"+rule)+dim.Render(more)+frame.Render("─╯"))
}

// beside joins two blocks of lines of equal height.
func beside(left, right []string) []string {
	out := make([]string, 0, len(left))
	for i := range left {
		line := left[i]
		if i < len(right) {
			line += right[i]
		}
		out = append(out, line)
	}
	return out
}

// short prints a duration in one unit: 4s, 12m, 3h, 2d.
func short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(max(0, d).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// plural is "1 node", "2 nodes".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// SetColor decides on colours for everything that this process prints: true,
// false, or auto, which asks the terminal and the variable NO_COLOR.
func SetColor(when string) {
	switch when {
	case "true":
		lipgloss.SetColorProfile(termenv.ANSI256)
	case "false":
		lipgloss.SetColorProfile(termenv.Ascii)
	}
}

// Failed marks a text as what went wrong.
func Failed(text string) string { return bad.Render(text) }

// Faint marks a text as less important.
func Faint(text string) string { return dim.Render(text) }
