package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"ray/internal/spec"
	"ray/internal/statustext"
)

// nodeRow is one line of the node panel: a type, a node, or a machine that is
// on its way.
type nodeRow struct {
	key     string // "" for a type's line
	name    string
	node    *spec.Node
	pending *spec.PendingInstance
	head    string // text of a type's line
}

// nodeRows groups nodes and machines by type: the head's first, then the
// configured types, then others.
func (m Model) nodeRows() []nodeRow {
	if m.status == nil {
		return nil
	}
	var rows []nodeRow
	for _, name := range m.typeOrder() {
		var members []nodeRow
		counts := map[string]int{}
		for i := range m.status.Nodes {
			if n := &m.status.Nodes[i]; n.State != spec.NodeDead && typeOf(n) == name {
				members = append(members, nodeRow{key: n.ID.String(), name: nodeName(n), node: n})
				counts[nodeState(n)]++
			}
		}
		for i := range m.status.Pending {
			if p := &m.status.Pending[i]; p.NodeType == name {
				members = append(members, nodeRow{key: fmt.Sprintf("pending %d %s", i, p.ID), name: pendingName(p), pending: p})
				counts["starting"]++
			}
		}
		rows = append(rows, nodeRow{head: m.typeLine(name, counts)})
		rows = append(rows, members...)
	}
	return rows
}

func (m Model) selectable() []nodeRow {
	return slices.DeleteFunc(m.nodeRows(), func(r nodeRow) bool { return r.key == "" })
}

func typeOf(n *spec.Node) string {
	switch {
	case n.NodeType != "":
		return n.NodeType
	case n.Head:
		return "head"
	}
	return "node"
}

// typeOrder are the types that have nodes or may get some.
func (m Model) typeOrder() []string {
	var order []string
	add := func(name string) {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	for i := range m.status.Nodes {
		if n := &m.status.Nodes[i]; n.Head && n.State != spec.NodeDead {
			add(typeOf(n))
		}
	}
	for _, t := range m.status.NodeTypes {
		if t.Max > 0 {
			add(t.Name)
		}
	}
	for i := range m.status.Nodes {
		if n := &m.status.Nodes[i]; n.State != spec.NodeDead {
			add(typeOf(n))
		}
	}
	for _, p := range m.status.Pending {
		add(p.NodeType)
	}
	return order
}

func (m Model) typeLine(name string, counts map[string]int) string {
	var parts []string
	for _, state := range []string{"busy", "idle", "draining", "starting"} {
		if n := counts[state]; n > 0 {
			parts = append(parts, stateStyle(state).Render(fmt.Sprintf("%d %s", n, state)))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, dim.Render("none"))
	}
	line := bold.Render(name) + "  " + strings.Join(parts, dim.Render(" · "))
	for _, t := range m.status.NodeTypes {
		if t.Name == name && t.Max > 0 {
			line += dim.Render(fmt.Sprintf("  of %d–%d, each %s", t.Min, t.Max, resourceList(t.Resources)))
		}
	}
	return line
}

func nodeState(n *spec.Node) string {
	switch {
	case n.State == spec.NodeDraining:
		return "draining"
	case n.IdleMS > 0:
		return "idle"
	}
	return "busy"
}

type renderer interface{ Render(...string) string }

func stateStyle(state string) renderer {
	switch state {
	case "busy":
		return good
	case "draining":
		return warn
	case "starting":
		return coming
	}
	return dim
}

func stateMark(state string) string {
	return map[string]string{"busy": "●", "idle": "○", "draining": "◐", "starting": "◌"}[state]
}

func nodeName(n *spec.Node) string {
	switch {
	case n.Instance != "":
		return n.Instance
	case n.Name != "":
		return n.Name
	}
	return n.ID.String()[:8]
}

func pendingName(p *spec.PendingInstance) string {
	switch {
	case p.ID != "":
		return p.ID
	case p.IP != "":
		return p.IP
	}
	return "new machine"
}

// nodeLines are the panel's lines, scrolled so that the selected one is
// among the first room lines.
func (m Model) nodeLines(width, room int) []string {
	rows, room := m.nodeRows(), max(1, room)
	lines := make([]string, 0, len(rows))
	at := 0
	for i, r := range rows {
		line := r.head
		switch {
		case r.node != nil:
			line = m.nodeLine(r, width)
		case r.pending != nil:
			line = m.pendingLine(r, width)
		}
		if r.key != "" && r.key == m.selected {
			at = i
			// Colours within would end the background, so it has none.
			line = cursor.Render(fit("▌"+strings.TrimPrefix(ansi.Strip(line), " "), width))
		}
		lines = append(lines, line)
	}
	if first := at - room + 1; first > 0 {
		lines = lines[min(first, max(0, len(lines)-room)):]
	}
	return lines
}

func (m Model) nodeLine(r nodeRow, width int) string {
	n := r.node
	state := nodeState(n)
	word := state
	if state == "idle" {
		word = "idle " + short(time.Duration(n.IdleMS)*time.Millisecond)
	}
	nameWidth := min(24, max(12, width/4))
	line := " " + stateStyle(state).Render(stateMark(state)) + " " + fit(r.name, nameWidth) + " " + stateStyle(state).Render(fit(word, 9))
	if width >= 70 {
		line += " " + dim.Render(fit(n.IP, 15))
	}
	for _, name := range []string{spec.CPU, spec.GPU} {
		if n.Total[name] > 0 {
			line += " " + name + " " + bar(name, n.Total[name]-n.Available[name], 0, n.Total[name], 6) + " " +
				fmt.Sprintf("%s/%s", n.Total[name]-n.Available[name], n.Total[name])
		}
	}
	if why := activity(n); why != "" && state != "idle" {
		line += "  " + dim.Render(why)
	}
	return line
}

func activity(n *spec.Node) string {
	if len(n.Activity) == 0 {
		return ""
	}
	return n.Activity[0]
}

func (m Model) pendingLine(r nodeRow, width int) string {
	p := r.pending
	age := short(m.now.Sub(time.UnixMilli(p.Since)))
	nameWidth := min(24, max(12, width/4))
	line := " " + coming.Render(stateMark("starting")) + " " + fit(r.name, nameWidth) + " " + coming.Render(stateWords(p.State)) + dim.Render(" for "+age)
	if p.Reason != "" {
		line += "  " + dim.Render(p.Reason)
	}
	return line
}

// stateWords says an instance state for people.
func stateWords(state string) string {
	switch state {
	case "QUEUED":
		return "queued"
	case "REQUESTED":
		return "launching"
	case "ALLOCATED":
		return "machine is there"
	case "RAY_INSTALLING":
		return "setting up"
	}
	return strings.ToLower(strings.ReplaceAll(state, "_", " "))
}

// resourceList prints amounts for people: 4 CPU, 1 GPU, 16.00GiB memory.
func resourceList(r spec.Resources) string {
	var parts []string
	for _, name := range r.Names() {
		if r[name] == 0 || strings.HasPrefix(name, "node:") {
			continue
		}
		parts = append(parts, amount(name, r[name])+" "+name)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func amount(name string, a spec.Fixed) string {
	if name == spec.Memory || name == spec.ObjectStoreMemory {
		return statustext.Bytes(a)
	}
	return a.String()
}
