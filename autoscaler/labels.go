package autoscaler

import (
	"maps"
	"slices"
	"strings"
)

// labelNodeGroup is a label that every node of a type has, whatever its
// configuration says.
const labelNodeGroup = "ray.io/node-group"

// typeLabels are the labels that a node of the type will have.
func typeLabels(name string, t NodeType) map[string]string {
	labels := map[string]string{labelNodeGroup: name}
	maps.Copy(labels, t.Labels)
	return labels
}

// matchLabels tells whether labels satisfy every condition of selector. A
// condition is `value`, `!value`, `in(a,b)` or `!in(a,b)`; the negated forms
// also accept a node without the label.
func matchLabels(labels, selector map[string]string) bool {
	for key, condition := range selector {
		if !matchCondition(labels, key, condition) {
			return false
		}
	}
	return true
}

func matchCondition(labels map[string]string, key, condition string) bool {
	have, ok := labels[key]
	rest, negated := strings.CutPrefix(strings.TrimSpace(condition), "!")
	in := false
	if list, isList := strings.CutPrefix(rest, "in("); isList {
		for value := range strings.SplitSeq(strings.TrimSuffix(list, ")"), ",") {
			in = in || ok && strings.TrimSpace(value) == have
		}
	} else {
		in = ok && rest == have
	}
	return in != negated
}

// selectorText prints a selector in a stable order: a=b, c=!d.
func selectorText(selector map[string]string) string {
	var parts []string
	for k, v := range selector {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
