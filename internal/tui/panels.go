package tui

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"ray/internal/spec"
)

// bar draws how much of a resource's total is used and reserved. Memory that
// runs out is trouble and is coloured so; a busy processor is not.
func bar(resource string, used, reserved, total spec.Fixed, cells int) string {
	if total <= 0 {
		return ""
	}
	full := int(math.Round(used.Float() / total.Float() * float64(cells)))
	if used > 0 && full == 0 {
		full = 1
	}
	full = min(max(full, 0), cells)
	held := min(max(int(math.Round((used+reserved).Float()/total.Float()*float64(cells))), full), cells)
	style := good
	if resource == spec.Memory || resource == spec.ObjectStoreMemory {
		switch share := used.Float() / total.Float(); {
		case share >= 0.95:
			style = bad
		case share >= 0.8:
			style = warn
		}
	}
	return style.Render(strings.Repeat("█", full)) + dim.Render(strings.Repeat("▒", held-full)) + frame.Render(strings.Repeat("░", cells-held))
}

// resourceLines are the cluster's sums, one bar each.
func (m Model) resourceLines(width int) []string {
	total, used := spec.Resources{}, spec.Resources{}
	for _, n := range m.status.Nodes {
		if n.State != spec.NodeDead {
			total.Add(n.Total)
			used.Add(n.Total)
			used.Sub(n.Available)
		}
	}
	var names []string
	nameWidth := 6
	for _, name := range slices.Sorted(maps.Keys(total)) {
		if strings.HasPrefix(name, "node:") || strings.HasPrefix(name, "accelerator_type:") || total[name] == 0 {
			continue
		}
		names = append(names, name)
		nameWidth = max(nameWidth, min(len(label(name)), 20))
	}
	cells := min(40, max(8, width-nameWidth-32))
	var lines []string
	for _, name := range names {
		reserved := m.status.GroupReserved[name] - m.status.GroupUsed[name]
		busy := used[name] - reserved
		line := fit(label(name), nameWidth) + " " + bar(name, busy, reserved, total[name], cells) + " " +
			bold.Render(amount(name, busy)) + dim.Render(" of "+amount(name, total[name]))
		if reserved > 0 {
			line += dim.Render(fmt.Sprintf(" · %s reserved", amount(name, reserved)))
		}
		lines = append(lines, line)
	}
	return lines
}

func label(resource string) string {
	if resource == spec.ObjectStoreMemory {
		return "objects"
	}
	return resource
}

// waitingLines say what waits and why. What can never be served comes first.
func (m Model) waitingLines(width int) []string {
	var lines []string
	never := map[string]bool{}
	for _, d := range m.status.Infeasible {
		never[d.Resources.Key()] = true
		lines = append(lines, waitLine(bad.Render("✗"), "can never run: "+need(d), d.Reason, bad, width)...)
	}
	for _, d := range m.status.Demands {
		if d.Count > 0 && !never[d.Resources.Key()] {
			lines = append(lines, waitLine(warn.Render("◷"), need(d), d.Reason, dim, width)...)
		}
	}
	for _, g := range m.status.Groups {
		name := g.Name
		if name == "" {
			name = g.ID.String()[:16] // the process that made it, and which of its groups it is
		}
		text := fmt.Sprintf("group %s: %s, %s", name, plural(len(g.Bundles), "bundle"), g.Strategy)
		lines = append(lines, waitLine(warn.Render("◷"), text, g.Reason, dim, width)...)
	}
	for _, d := range m.status.Constraints {
		lines = append(lines, waitLine(accent.Render("◈"), fmt.Sprintf("%d × %s kept by request_resources", d.Count, resourceList(d.Resources)), "", dim, width)...)
	}
	if len(lines) == 0 {
		return []string{dim.Render("Nothing waits.")}
	}
	return lines
}

func need(d spec.Demand) string {
	text := fmt.Sprintf("%d × %s", max(1, d.Count), resourceList(d.Resources))
	if d.Name != "" {
		text += " (" + d.Name + ")"
	}
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(d.LabelSelector)) {
		labels = append(labels, key+"="+d.LabelSelector[key])
	}
	if len(labels) > 0 {
		text += " where " + strings.Join(labels, ", ")
	}
	return text
}

func waitLine(mark, text, reason string, style renderer, width int) []string {
	lines := []string{mark + " " + text}
	if reason != "" {
		for _, line := range wrap(reason, width-2, 3) {
			lines = append(lines, "  "+style.Render(line))
		}
	}
	return lines
}

// workLines are running tasks summed by name, then actors.
func (m Model) workLines(width int) []string {
	type sum struct{ running, waiting int }
	sums := map[string]*sum{}
	places := map[string]map[spec.NodeID]bool{}
	for _, t := range m.status.Tasks {
		s := sums[t.Name]
		if s == nil {
			s = &sum{}
			sums[t.Name], places[t.Name] = s, map[spec.NodeID]bool{}
		}
		if isRunning(t.State) {
			s.running++
			places[t.Name][t.NodeID] = true
		} else {
			s.waiting++
		}
	}
	nameWidth := min(32, max(14, width/3))
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		s := sums[name]
		line := "ƒ " + fit(name, nameWidth) + " "
		if s.running > 0 {
			line += good.Render(fmt.Sprintf("%d running", s.running)) + dim.Render(" on "+plural(len(places[name]), "node"))
		}
		if s.waiting > 0 {
			if s.running > 0 {
				line += dim.Render(" · ")
			}
			line += warn.Render(fmt.Sprintf("%d waiting", s.waiting))
		}
		lines = append(lines, line)
	}
	for _, a := range m.status.Actors {
		if a.State != spec.ActorDead {
			lines = append(lines, m.actorLine(a, nameWidth))
		}
	}
	if len(lines) == 0 {
		return []string{dim.Render("No task is running and no actor lives.")}
	}
	return lines
}

func isRunning(state string) bool { return strings.HasPrefix(state, "RUNNING") }

func (m Model) actorLine(a spec.ActorInfo, nameWidth int) string {
	name := a.Options.ClassName
	if a.Options.Name != "" {
		name += " “" + a.Options.Name + "”"
	}
	state, style := strings.ToLower(strings.ReplaceAll(a.State, "_", " ")), renderer(good)
	if a.State != spec.ActorAlive {
		style = warn
	}
	line := accent.Render("◆") + " " + fit(name, nameWidth) + " " + style.Render(state)
	for i := range m.status.Nodes {
		if n := &m.status.Nodes[i]; !a.NodeID.IsZero() && n.ID == a.NodeID {
			line += dim.Render(" on " + nodeName(n))
		}
	}
	if a.Restarts > 0 {
		line += warn.Render(fmt.Sprintf(" · %s", plural(a.Restarts, "restart")))
	}
	if a.State != spec.ActorAlive && a.Reason != "" {
		line += dim.Render(" · " + a.Reason)
	}
	return line
}

// workNote is the count for the panel's title.
func (m Model) workNote() string {
	running, actors := 0, 0
	for _, t := range m.status.Tasks {
		if isRunning(t.State) {
			running++
		}
	}
	for _, a := range m.status.Actors {
		if a.State != spec.ActorDead {
			actors++
		}
	}
	return plural(running, "task") + " · " + plural(actors, "actor")
}

// eventLines are the last events that fit into room lines, newest last.
func (m Model) eventLines(width, room int) []string {
	var lines []string
	for _, e := range m.status.Events {
		style := renderer(dim)
		switch e.Severity {
		case "WARNING":
			style = warn
		case "ERROR":
			style = bad
		}
		at := time.UnixMilli(e.TimeMS).Format(time.TimeOnly)
		for i, line := range wrap(e.Message, width-9, 3) {
			if i > 0 {
				at = "        "
			}
			text := line
			if e.Severity != "INFO" {
				text = style.Render(line)
			}
			lines = append(lines, dim.Render(at)+" "+text)
		}
	}
	if len(lines) == 0 {
		return []string{dim.Render("No event so far.")}
	}
	return lines[max(0, len(lines)-max(1, room)):]
}
