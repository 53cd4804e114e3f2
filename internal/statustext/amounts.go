package statustext

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ray/internal/spec"
)

// number prints an amount as Python prints a float.
func number(f spec.Fixed) string {
	s := f.String()
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// Bytes prints a size in binary units with two digits: 5.60GiB.
func Bytes(amount spec.Fixed) string {
	size := amount.Float()
	for _, unit := range []struct {
		name string
		size float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if size >= unit.size {
			return fmt.Sprintf("%.2f%s", size/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%dB", int64(size))
}

// Amount prints an amount of a resource: bytes for memory, else a number.
func Amount(resource string, amount spec.Fixed) string {
	if resource == spec.Memory || resource == spec.ObjectStoreMemory {
		return Bytes(amount)
	}
	return number(amount)
}

// hidden resources are there for placement only.
func hidden(resource string, verbose bool) bool {
	return strings.HasPrefix(resource, "node:") || strings.Contains(resource, "_group_") ||
		!verbose && strings.HasPrefix(resource, "accelerator_type:")
}

// usage sums total and used over the nodes that live.
func usage(nodes []spec.Node) (total, used spec.Resources) {
	total, used = spec.Resources{}, spec.Resources{}
	for _, n := range nodes {
		if n.State == spec.NodeDead {
			continue
		}
		total.Add(n.Total)
		used.Add(n.Total)
		used.Sub(n.Available)
	}
	return total, used
}

func usageLines(s spec.Status, verbose bool) []string {
	total, used := usage(s.Nodes)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(total)) {
		if hidden(name, verbose) {
			continue
		}
		// What a group has reserved is taken from its node; it is in use
		// only as far as something runs in the group.
		reserved, inGroups := s.GroupReserved[name], s.GroupUsed[name]
		line := fmt.Sprintf(" %s/%s %s", Amount(name, used[name]-reserved+inGroups), Amount(name, total[name]), name)
		if reserved > 0 {
			line += fmt.Sprintf(" (%s used of %s reserved in placement groups)", Amount(name, inGroups), Amount(name, reserved))
		}
		lines = append(lines, line)
	}
	return lines
}

func constraintLines(s spec.Status) []string {
	var lines []string
	for _, d := range s.Constraints {
		lines = append(lines, fmt.Sprintf(" %s: %d from request_resources()", d.Resources, d.Count))
	}
	return orNone(lines, " (none)")
}

// demandLines sums tasks and actors by shape and groups by their bundles.
func demandLines(s spec.Status, verbose bool) []string {
	var lines []string
	sums := map[string]int{}
	reasons := map[string]string{}
	var order []string
	for _, d := range s.Demands {
		if d.Resources.IsEmpty() || d.Count <= 0 {
			continue
		}
		text := d.Resources.String()
		if sums[text] == 0 {
			order = append(order, text)
		}
		sums[text] += d.Count
		if d.Reason != "" {
			reasons[text] = d.Reason
		}
	}
	for _, d := range s.Infeasible {
		reasons[d.Resources.String()] = "infeasible: " + d.Reason
	}
	for _, text := range order {
		line := fmt.Sprintf(" %s: %d+ pending tasks/actors", text, sums[text])
		lines = append(lines, withReason(line, reasons[text], verbose))
	}
	lines = append(lines, groupLines(s, verbose)...)
	return orNone(lines, " (no resource demands)")
}

func groupLines(s spec.Status, verbose bool) []string {
	sums := map[string]int{}
	reasons := map[string]string{}
	var order, lines []string
	for _, g := range s.Groups {
		text := groupText(g)
		if sums[text] == 0 {
			order = append(order, text)
		}
		sums[text]++
		if g.Reason != "" {
			reasons[text] = g.Reason
		}
	}
	for _, text := range order {
		lines = append(lines, withReason(fmt.Sprintf(" %s: %d+ pending placement groups", text, sums[text]), reasons[text], verbose))
	}
	return lines
}

// withReason adds why something waits: in verbose text, and always if it would
// wait for ever.
func withReason(line, reason string, verbose bool) string {
	if reason != "" && (verbose || strings.HasPrefix(reason, "infeasible")) {
		return line + " - " + reason
	}
	return line
}

// groupText is {'CPU': 1.0} * 2, {'GPU': 1.0} * 1 (PACK).
func groupText(g spec.PlacementGroup) string {
	counts := map[string]int{}
	var order []string
	for _, b := range g.Bundles {
		text := b.String()
		if counts[text] == 0 {
			order = append(order, text)
		}
		counts[text]++
	}
	var parts []string
	for _, text := range order {
		parts = append(parts, fmt.Sprintf("%s * %d", text, counts[text]))
	}
	return fmt.Sprintf("%s (%s)", strings.Join(parts, ", "), g.Strategy)
}

func nodeDetail(n spec.Node) []string {
	name := n.Instance
	if name == "" {
		name = n.ID.String()
	}
	lines := []string{"", fmt.Sprintf("Node: %s (%s)", name, TypeName(n)), " Id: " + n.ID.String()}
	if n.IdleMS > 0 {
		lines = append(lines, fmt.Sprintf(" Idle: %d ms", n.IdleMS))
	}
	lines = append(lines, " Usage:")
	total, used := usage([]spec.Node{n})
	for _, resource := range slices.Sorted(maps.Keys(total)) {
		if !hidden(resource, true) {
			lines = append(lines, fmt.Sprintf("  %s/%s %s", Amount(resource, used[resource]), Amount(resource, total[resource]), resource))
		}
	}
	lines = append(lines, " Activity:")
	for _, a := range n.Activity {
		lines = append(lines, "  "+a)
	}
	if len(n.Activity) == 0 {
		lines = append(lines, "  (no activity)")
	}
	return lines
}
