package autoscaler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ray/internal/spec"
)

// The line about infeasible demand is repeated while it stays infeasible,
// after sayAgain at first and less and less often then.
const (
	sayAgain  = 2 * time.Minute
	sayRarely = time.Hour
)

// reminder is when an infeasible need was said last, and when to say it next.
type reminder struct {
	next time.Time
	wait time.Duration
}

// counter counts by key.
type counter map[string]int

func (c *counter) add(key string) {
	if *c == nil {
		*c = counter{}
	}
	(*c)[key]++
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// tellChanges turns the step's decisions into event lines. The texts are those
// that users of upstream know and search for.
func (m *Manager) tellChanges(v View) {
	for _, nodeType := range sortedKeys(m.adding) {
		m.event("INFO", fmt.Sprintf("Adding %d node(s) of type %s.", m.adding[nodeType], nodeType))
	}
	for _, key := range sortedKeys(m.removing) {
		nodeType, cause, _ := strings.Cut(key, "\x00")
		m.event("INFO", fmt.Sprintf("Removing %d nodes of type %s (%s).", m.removing[key], nodeType, cause))
	}
	for _, key := range sortedKeys(m.renewing) {
		nodeType, cause, _ := strings.Cut(key, "\x00")
		m.event("INFO", fmt.Sprintf("Setting up %d node(s) of type %s again (%s).", m.renewing[key], nodeType, cause))
	}
	m.tellSize(v.Nodes)
	m.tellInfeasible()
}

func (m *Manager) tellSize(nodes []spec.Node) {
	total := spec.Resources{}
	for _, n := range nodes {
		if n.State == spec.NodeAlive {
			total.Add(n.Total)
		}
	}
	if len(nodes) == 0 {
		return
	}
	size := fmt.Sprintf("Resized to %s CPUs.", total[spec.CPU])
	if total[spec.GPU] > 0 {
		size = fmt.Sprintf("Resized to %s CPUs, %s GPUs.", total[spec.CPU], total[spec.GPU])
	}
	if m.size != "" && m.size != size {
		m.event("INFO", size)
	}
	m.size = size
}

// tellInfeasible says each infeasible need when it appears and now and then
// while it lasts.
func (m *Manager) tellInfeasible() {
	now := map[string]bool{}
	for _, i := range m.reply.Infeasible {
		key := i.Kind + i.Group + i.Demand.Resources.Key() + selectorText(i.Demand.LabelSelector)
		now[key] = true
		told, ok := m.told[key]
		if ok && m.now.Before(told.next) {
			continue
		}
		wait := min(max(sayAgain, 2*told.wait), sayRarely)
		m.told[key] = reminder{m.now.Add(wait), wait}
		m.event("WARNING", infeasibleLine(i))
	}
	maps.DeleteFunc(m.told, func(key string, _ reminder) bool { return !now[key] })
}

func infeasibleLine(i Infeasible) string {
	what := fmt.Sprintf("resource requests %s*%d", i.Demand.Resources, max(i.Demand.Count, 1))
	if len(i.Demand.LabelSelector) > 0 {
		what += fmt.Sprintf(" with labels %s", selectorText(i.Demand.LabelSelector))
	}
	if i.Group != "" {
		what += fmt.Sprintf(" of placement group %s", i.Group)
	}
	return fmt.Sprintf("No available node types can fulfill %s. Add suitable node types to this cluster to resolve this issue. In detail: %s.",
		what, i.Reason)
}
