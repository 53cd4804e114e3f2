package statustext

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ray/internal/spec"
)

// Options choose what is printed.
type Options struct {
	Verbose bool
	// RequestTime is how long the head took to answer. In verbose text the
	// line is left out if it is zero.
	RequestTime time.Duration
	// Now, if set, makes verbose text say how old the data is.
	Now time.Time
	// Location of the times shown; local time if nil.
	Location *time.Location
}

// NoStatus is what is printed before a cluster has reported anything.
const NoStatus = "No cluster status. It may take a few seconds for the Ray internal services to start up."

// maxFailures is how many recent failures are shown.
const maxFailures = 20

// Render prints the status without a final newline.
func Render(s spec.Status, verbose bool) string { return RenderWith(s, Options{Verbose: verbose}) }

// RenderWith is Render with options.
func RenderWith(s spec.Status, o Options) string {
	if o.Location == nil {
		o.Location = time.Local
	}
	header := fmt.Sprintf("======== Autoscaler status: %s ========", stamp(time.UnixMilli(s.TimeMS).In(o.Location)))
	rule := strings.Repeat("-", len(header))
	lines := []string{header}
	if o.Verbose {
		lines = append(lines, timings(s, o)...)
	}
	lines = append(lines, "Node status", rule)
	lines = append(lines, nodeLines(s)...)
	lines = append(lines, pendingLines(s)...)
	lines = append(lines, failureLines(s, o)...)
	if o.Verbose {
		lines = append(lines, backoffLines(s)...)
	}
	lines = append(lines, autoStopLines(s)...)
	lines = append(lines, noticeLines(s)...)
	lines = append(lines, "", "Resources", rule, "Total Usage:")
	lines = append(lines, usageLines(s, o.Verbose)...)
	lines = append(lines, "", "From request_resources:")
	lines = append(lines, constraintLines(s)...)
	lines = append(lines, "Pending Demands:")
	lines = append(lines, demandLines(s, o.Verbose)...)
	if o.Verbose {
		for _, n := range s.Nodes {
			if n.State != spec.NodeDead {
				lines = append(lines, nodeDetail(n)...)
			}
		}
	}
	return strings.Join(lines, "\n")
}

// stamp prints a time as Python's str(datetime) does: the fraction is left
// out if there is none.
func stamp(t time.Time) string {
	if t.Nanosecond()/1000 == 0 {
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format("2006-01-02 15:04:05.000000")
}

func timings(s spec.Status, o Options) []string {
	var lines []string
	if o.RequestTime > 0 {
		lines = append(lines, fmt.Sprintf("GCS request time: %.6fs", o.RequestTime.Seconds()))
	}
	if !o.Now.IsZero() {
		lines = append(lines, fmt.Sprintf("Age of the data: %.3fs", max(0, o.Now.Sub(time.UnixMilli(s.TimeMS)).Seconds())))
	}
	if len(lines) > 0 {
		lines = append(lines, "")
	}
	return lines
}

// TypeName is the node's type; a node that was started by hand has one of
// its own.
func TypeName(n spec.Node) string {
	if n.NodeType != "" {
		return n.NodeType
	}
	return "node_" + n.ID.String()
}

func nodeLines(s spec.Status) []string {
	var active, idle []spec.Node
	for _, n := range s.Nodes {
		switch {
		case n.State == spec.NodeDead:
		case n.IdleMS > 0, n.OnlyDrivers(): // upstream counts no driver as activity
			idle = append(idle, n)
		default:
			active = append(active, n)
		}
	}
	lines := append([]string{"Active:"}, countTypes(active, " (no active nodes)")...)
	lines = append(lines, "Idle:")
	return append(lines, countTypes(idle, " (no idle nodes)")...)
}

// countTypes counts nodes by type in the order of first appearance.
func countTypes(nodes []spec.Node, none string) []string {
	var order []string
	counts := map[string]int{}
	for _, n := range nodes {
		name := TypeName(n)
		if counts[name] == 0 {
			order = append(order, name)
		}
		counts[name]++
	}
	var lines []string
	for _, name := range order {
		lines = append(lines, fmt.Sprintf(" %d %s", counts[name], name))
	}
	return orNone(lines, none)
}

func orNone(lines []string, none string) []string {
	if len(lines) == 0 {
		return []string{none}
	}
	return lines
}

// pendingLines sums machines that do not exist yet by type and names the
// others.
func pendingLines(s spec.Status) []string {
	lines := []string{}
	launching := map[string]int{}
	var order []string
	for _, p := range s.Pending {
		if p.State == "QUEUED" || p.State == "REQUESTED" {
			if launching[p.NodeType] == 0 {
				order = append(order, p.NodeType)
			}
			launching[p.NodeType]++
		}
	}
	for _, name := range order {
		lines = append(lines, fmt.Sprintf(" %s, %d launching", name, launching[name]))
	}
	for _, p := range s.Pending {
		if p.State != "QUEUED" && p.State != "REQUESTED" {
			name := p.ID
			if name == "" {
				name = p.IP
			}
			lines = append(lines, fmt.Sprintf(" %s: %s, %s", name, p.NodeType, phase(p.State)))
		}
	}
	return append([]string{"Pending:"}, orNone(lines, " (no pending nodes)")...)
}

// phase says an instance state in words.
func phase(state string) string {
	switch state {
	case "ALLOCATED":
		return "waiting-for-ssh"
	case "RAY_INSTALLING":
		return "setting-up"
	}
	return strings.ToLower(strings.ReplaceAll(state, "_", "-"))
}

func failureLines(s spec.Status, o Options) []string {
	failures := s.Failures
	if extra := len(failures) - maxFailures; extra > 0 {
		failures = failures[extra:]
	}
	var lines []string
	for _, launch := range []bool{true, false} {
		for _, f := range slices.Backward(failures) {
			if (f.Kind == "LaunchFailed") == launch {
				lines = append(lines, failureLine(f, o))
			}
		}
	}
	return append([]string{"Recent failures:"}, orNone(lines, " (no failures)")...)
}

func failureLine(f spec.Failure, o Options) string {
	if f.Kind != "LaunchFailed" {
		line := fmt.Sprintf(" %s: %s (instance_id: %s)", f.NodeType, f.Kind, f.InstanceID)
		if o.Verbose && f.Details != "" {
			line += " - " + f.Details
		}
		return line
	}
	line := fmt.Sprintf(" %s: LaunchFailed (latest_attempt: %s)", f.NodeType, time.UnixMilli(f.TimeMS).In(o.Location).Format(time.TimeOnly))
	if o.Verbose && f.Details != "" {
		line += " - " + f.Details
	}
	return line
}

// backoffLines tell what is not asked for at present; nothing if there is none.
func backoffLines(s spec.Status) []string {
	if len(s.Backoffs) == 0 {
		return nil
	}
	lines := []string{"Not asked for now:"}
	for _, b := range s.Backoffs {
		wait := max(0, time.Duration(b.UntilMS-s.TimeMS)*time.Millisecond).Round(time.Second)
		lines = append(lines, fmt.Sprintf(" %s: next try in %s - %s", b.What, wait, b.Reason))
	}
	return lines
}

// autoStopLines tell when the cluster ends by itself; nothing if it does not.
func autoStopLines(s spec.Status) []string {
	a := s.AutoStop
	then := ""
	if a != nil && a.Action == "stop" {
		then = "; then only disks cost"
	}
	switch {
	case a == nil:
		return nil
	case a.AtMS == 0:
		return []string{"Auto-stop:", fmt.Sprintf(" %s once nothing has run for %s%s", a.Action, time.Duration(a.IdleMS)*time.Millisecond, then)}
	}
	left := max(0, time.Duration(a.AtMS-s.TimeMS)*time.Millisecond).Round(time.Second)
	return []string{"Auto-stop:", fmt.Sprintf(" %s in %s if nothing is run%s", a.Action, left, then)}
}

// noticeLines warn of the end of the head's machine; nothing if it stays.
func noticeLines(s spec.Status) []string {
	n := s.HeadNotice
	if n == nil {
		return nil
	}
	left := max(0, time.Duration(n.DeadlineMS-s.TimeMS)*time.Millisecond).Round(time.Second)
	return []string{"Head's machine:", fmt.Sprintf(" taken away in %s, and the cluster with it - %s", left, n.Message)}
}
